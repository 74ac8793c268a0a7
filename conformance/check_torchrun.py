"""What torchrun trains is what our own engine trains: the same losses step by step where both see the same batches, the
same accuracy on MNIST, whatever the number of processes, and with one of them killed.
"""

import json
import os
import pathlib
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
from PIL import Image

root = pathlib.Path(__file__).resolve().parent.parent
pqv = ["node", str(root / "dist/cli/main.js")]
failures = []
# Only the recipes whose title has this in it.
only = sys.argv[1] if len(sys.argv) > 1 else ""

# What makes timm importable where torchvision was built for another torch; for the processes that torchrun starts.
BESIDE = """
import torch
library = torch.library.Library("torchvision", "DEF")
for schema in ("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
               "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"):
    try:
        library.define(schema)
    except RuntimeError:
        pass
"""


def report(title, ok, text):
    print(f"{'ok  ' if ok else 'FAIL'} {title}: {text}", flush=True)
    if not ok:
        failures.append(title)


def environment(folder):
    (folder / "site").mkdir(exist_ok=True)
    (folder / "site/sitecustomize.py").write_text(f"import os\nif 'LOCAL_RANK' in os.environ:\n{indented(BESIDE)}")
    return {**os.environ, "PQV_PYTHON": sys.executable, "PYTHONPATH": str(folder / "site")}


def indented(text):
    return "\n".join(f"    {line}" for line in text.split("\n"))


def run(arguments, env):
    answer = subprocess.run([*pqv, *map(str, arguments)], capture_output=True, text=True, env=env, timeout=600)
    if answer.returncode != 0:
        raise RuntimeError(answer.stderr.strip().split("\n")[-1])
    return answer.stdout


def digits(folder, count):
    """Images of ten classes, each a pattern of its own under noise."""
    draw = np.random.default_rng(0)
    patterns = draw.uniform(60, 200, (10, 28, 28))
    for part in ("train", "val"):
        for index in range(count):
            path = folder / part / str(index % 10) / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = patterns[index % 10] + draw.normal(0, 60, (28, 28))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)


def losses_of_ort(folder):
    with (folder / "checkpoint.safetensors").open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        progress = json.loads(json.loads(file.read(length))["__metadata__"]["progress"])
    return [step["loss"] for step in progress["history"]["steps"]]


def losses_of_torchrun(folder):
    return [step["loss"] for step in json.loads((folder / "torchrun/history.json").read_text())["steps"]]


LEVIT = json.dumps({"img_size": 64, "embed_dim": [32, 48, 64], "num_heads": [2, 2, 2], "depth": [1, 1, 1], "key_dim": 8})

# Title, processes, epochs of one update each, how far the losses may be apart in the end, options. Where numbers are rounded to
# int8 they may be that far apart from the first step on: a weight that changes in its last bit (1e-7) tips numbers to the next whole one, and
# moves the loss in PyTorch alone by up to 8.5e-4.
RECIPES = [
    ("AdamW, clipped, 200 steps", 1, 200, 1e-2, ["--lr", "1e-4"]),
    ("two processes, accumulated, running mean", 2, 6, 1e-4, ["--batch-size", "32", "--accumulate", "2", "--ema-decay", "0.8", "--lr", "1e-4"]),
    ("SGD with Nesterov's momentum, step schedule", 2, 6, 1e-4, ["--optimizer", "sgd", "--nesterov", "--lr", "1e-2", "--schedule", "step", "--decay-epochs", "2"]),
    ("the classes that a teacher chooses", 2, 6, 1e-4, ["--teacher", "TEACHER", "--distill-kind", "hard", "--lr", "1e-4"]),
    ("what the blocks of a teacher hand on", 2, 6, 1e-4, ["--teacher", "TEACHER", "--distill-kind", "feature", "--lr", "1e-4"]),
    ("batch norms that learn", 1, 6, 1e-4, ["--batch-norm", "train", "--lr", "1e-3", "--ema-decay", "0.5"]),
    ("for int8, ranges found at run time", 1, 6, 1e-3, ["--qat", "--lr", "1e-4"]),
    ("for int8, calibrated ranges", 2, 6, 1e-3, ["--qat", "--scheme", "static", "--backend", "qnnpack", "--lr", "1e-4"]),
    ("branches that are hardly ever left out", 2, 6, 1e-4, ["--drop-path", "1e-6", "--lr", "1e-4"]),
    ("soft targets of a teacher, layer-wise rates", 2, 6, 1e-4, ["--teacher", "TEACHER", "--distill", "0.5", "--temperature", "2", "--layer-decay", "0.7", "--lr", "1e-4"]),
]


def compare_losses(folder, env):
    data = folder / "digits"
    digits(data, 64)
    model, teacher = folder / "model", root / "examples/mnist_vit"
    run(["prune", teacher, "-o", model, "--ratio", "0.25", "--importance", "l1"], env)
    run(["init", "levit_128s", "-o", folder / "norms", "--num-classes", "10", "--model-args", LEVIT], env)
    for number, (title, processes, epochs, allowed, options) in enumerate(RECIPES):
        if only not in title:
            continue
        options = [str(teacher) if word == "TEACHER" else word for word in options]
        start = folder / "norms" if "--batch-norm" in options else model
        common = ["finetune", start, "--data", data, "--epochs", epochs, *options]
        ort, elsewhere = folder / f"ort{number}", folder / f"torchrun{number}"
        run([*common, "-o", ort], env)
        run([*common, "-o", elsewhere, "--engine", "torchrun", "--nproc-per-node", processes], env)
        ours, theirs = np.array(losses_of_ort(ort)), np.array(losses_of_torchrun(elsewhere))
        if ours.shape != theirs.shape:
            report(title, False, f"{len(ours)} steps and {len(theirs)}")
            continue
        apart = abs(ours - theirs) / theirs
        text = f"{len(ours)} steps, loss {ours[0]:.4f} to {ours[-1]:.4f}, apart {apart[0]:.1e} at first, {apart[-1]:.1e} in the end"
        at_first = allowed if "--qat" in options else 1e-4
        report(title, apart[0] < at_first and apart[-1] < allowed and ours[-1] < ours[0], text)


def top1(model, env):
    return 100 * json.loads(run(["eval", model, "--data", "mnist", "--json", "--quiet"], env))["top1"]


def train_digits(folder, env):
    """MNIST by both engines, and once more with a worker killed; then int8 and TorchScript of what came back."""
    common = ["finetune", folder / "model", "--data", "mnist"]
    run([*common, "--epochs", 1, "-o", folder / "mnist"], env)
    two = [*common, "--engine", "torchrun", "--nproc-per-node", 2]
    run([*two, "--epochs", 1, "-o", folder / "mnist2"], env)
    here, there = top1(folder / "mnist", env), top1(folder / "mnist2", env)
    report("MNIST", abs(here - there) <= 0.3, f"{here:.2f} % by ONNX Runtime, {there:.2f} % by two processes of torchrun")
    run(["quantize", folder / "mnist2", "-o", folder / "int8"], env)
    run(["export", folder / "mnist2", "--format", "torchscript", "-o", folder / "mnist2.pt"], env)
    int8 = top1(folder / "int8", env)
    report("int8 of it", abs(int8 - there) <= 0.3, f"{int8:.2f} %")
    killed = folder / "killed"
    command = [*pqv, *map(str, [*two, "--epochs", 3, "-o", killed])]
    said = []
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as process:
        reader = threading.Thread(target=lambda: said.extend(process.stderr))
        reader.start()
        while process.poll() is None and not any("PyTorch " in line for line in said):
            time.sleep(0.2)
        time.sleep(1)
        done = kill_a_worker(killed)
        process.wait(timeout=600)
        reader.join()
    said = "".join(said)
    again = said.count("PyTorch ") == 2 and process.returncode == 0
    report("a killed worker", done and again, f"all were started again, {top1(killed, env):.2f} %" if again else said[-300:])


def kill_a_worker(folder):
    """Kills the second process of a training that has begun."""
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            state = dict(pair.split(b"=", 1) for pair in (process / "environ").read_bytes().split(b"\0") if b"=" in pair)
        except OSError:
            continue
        if any(word.startswith(bytes(folder)) for word in words) and state.get(b"LOCAL_RANK") == b"1":
            os.kill(int(process.name), signal.SIGKILL)
            return True
    return False


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        env = environment(folder)
        compare_losses(folder, env)
        if not only:
            train_digits(folder, env)
    sys.exit(1 if failures else 0)


main()
