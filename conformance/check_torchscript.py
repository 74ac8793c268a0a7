"""What we write as TorchScript (.pt) and PyTorch Lite (.ptl) computes in PyTorch what the model computes.

Judges: the PyTorch of this Python and, where there is one, that of the system's /usr/bin/python3 (Debian packages
an older release with other engines). PQV_OLD_PYTHON names another.
"""

import json
import operator
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

import judge  # noqa: F401  (timm beside a torchvision without compiled ops)

here = pathlib.Path(__file__).resolve().parent
root = here.parent
runner = here / "torchscript_runner.py"
failures = []


def report(title, ok, text):
    print(f"{'ok  ' if ok else 'FAIL'} {title}: {text}", flush=True)
    if not ok:
        failures.append(title)


def judges():
    """Pythons with a PyTorch, as (executable, version, engines)."""
    found = []
    for python in (sys.executable, os.environ.get("PQV_OLD_PYTHON", "/usr/bin/python3")):
        answer = subprocess.run([python, runner, "--engines"], capture_output=True, text=True)
        if answer.returncode == 0:
            said = json.loads(answer.stdout)
            if said["torch"] not in [version for _, version, _ in found]:
                found.append((python, said["torch"], said["engines"]))
        elif python == sys.executable:
            sys.exit(f"no PyTorch in {python}: {answer.stderr}")
    return found


def run(python, jobs):
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    answer = subprocess.run([python, runner], input=json.dumps(jobs), capture_output=True, text=True, env=environment)
    if answer.returncode != 0:
        return [{"error": f"the process ended with {answer.returncode}: {answer.stderr[-300:]}"}] * len(jobs)
    return json.loads(answer.stdout)


def read(file, dtype, shape):
    return np.fromfile(file, dtype=dtype).reshape(shape)


def distance(got, expected):
    """Largest difference relative to the largest expected magnitude; infinite when values that are no numbers disagree."""
    if got.shape != expected.shape:
        return float("inf")
    got, expected = got.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(expected)
    if not np.array_equal(got[~finite], expected[~finite], equal_nan=True):
        return float("inf")
    scale = max(np.abs(expected[finite]).max(initial=0), 1e-30)
    return float(np.abs(got[finite] - expected[finite]).max(initial=0) / scale)


def norm_distance(got, expected):
    """Euclidean distance over the norm of what is expected: of two runtimes that round the same numbers differently."""
    return float(np.linalg.norm(got - expected) / np.linalg.norm(expected)) if got.shape == expected.shape else float("inf")


def check_cases(folder, judge_list):
    """Every row of the lowering table, against ONNX Runtime."""
    subprocess.run(["node", here / "torchscript_cases.mjs", folder], check=True)
    index = json.loads((folder / "cases.json").read_text())
    report("every row has a case", not index["missing"], ", ".join(index["missing"]) or "all")
    for python, version, _ in judge_list:
        for extension in ("pt", "ptl"):
            jobs = [
                {
                    "file": str(folder / f"{case['file']}.{extension}"),
                    "inputs": [{**entry, "file": str(folder / entry["file"])} for entry in case["inputs"]],
                    "outputs": str(folder / f"{case['file']}.{extension}."),
                }
                for case in index["cases"]
            ]
            bad, worst = 0, 0.0
            for case, job, answer in zip(index["cases"], jobs, run(python, jobs)):
                if "error" in answer:
                    report(f"{case['title']} .{extension} torch {version}", False, answer["error"])
                    bad += 1
                    continue
                for i, (said, expected) in enumerate(zip(answer, case["outputs"])):
                    got = read(f"{job['outputs']}{i}.bin", said["dtype"], said["shape"])
                    d = distance(got, read(folder / expected["file"], expected["dtype"], expected["shape"]))
                    if not d <= case["tolerance"] or said["dtype"] != expected["dtype"]:
                        report(f"{case['title']} .{extension} torch {version}", False, f"differs by {d:.1e}, {said} for {expected}")
                        bad += 1
                    elif case["tolerance"] < 1e-3:
                        worst = max(worst, d)
            report(f"op cases .{extension} torch {version}", bad == 0, f"{len(jobs)} graphs, {bad} wrong, largest difference {worst:.1e}")


def make_models(folder):
    """Small models of six kinds with random weights, in timm's layout: (name, timm model, folder, images)."""
    import timm
    import torch
    from safetensors.torch import save_file

    kinds = [
        ("vit_tiny_patch16_224", 64, {}),
        ("deit_tiny_distilled_patch16_224", 64, {}),
        ("deit3_small_patch16_224", 64, {}),
        ("vit_small_patch14_reg4_dinov2", 56, {}),
        ("vit_base_patch16_siglip_224", 64, {}),
        ("vit_base_patch32_clip_quickgelu_224", 96, {}),
    ]
    # Dynamic int8 rounds activations, so that sums in another order show: compare the same attention arithmetic.
    timm.layers.set_fused_attn(False)
    torch.manual_seed(0)
    for name, size, more in kinds:
        arguments = {"img_size": size, "depth": 2, **more}
        model = timm.create_model(name, num_classes=10, **arguments).eval()
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                parameter.add_(0.03 * torch.randn_like(parameter) + (0.3 if key.endswith("gamma") else 0))
        place = folder / name
        place.mkdir()
        save_file(model.state_dict(), place / "model.safetensors")
        config = {"input_size": [3, size, size], "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "crop_pct": 1.0}
        text = {"architecture": name, "num_classes": 10, "model_args": arguments, "pretrained_cfg": config}
        (place / "config.json").write_text(json.dumps(text))
        yield name, model, place, torch.randn(3, 3, size, size)


def modules_of(model, path):
    """Writes a model as modules of torch.nn and the code between them, for a PyTorch that has no timm."""
    import torch

    traced = torch.fx.symbolic_trace(model)
    for node in traced.graph.nodes:
        if getattr(node.target, "__name__", "") == "maybe_add_mask":
            node.replace_all_uses_with(node.args[0])  # there is no mask
    traced.graph.eliminate_dead_code()
    for node in traced.graph.nodes:
        if node.op == "placeholder" and not node.users:
            traced.graph.erase_node(node)
    nodes = list(traced.graph.nodes)
    called = {node.target: traced.get_submodule(node.target) for node in nodes if node.op == "call_module"}
    tensors = {node.target: operator.attrgetter(node.target)(traced) for node in nodes if node.op == "get_attr"}
    spec = {
        "code": traced.graph.python_code("self").src,
        "modules": {target: (repr(module), dict(module.state_dict())) for target, module in called.items()},
        "tensors": {target: tensor.detach() for target, tensor in tensors.items()},
    }
    torch.save(spec, path)


backends = {"x86": ("channel", True), "fbgemm": ("channel", True), "onednn": ("channel", False), "qnnpack": ("tensor", False)}
# Judged by what ONNX Runtime computes; its sums are exact for these on every processor.
against_onnx = {
    "safe": {"backend": "mlas"},
    "static-safe": {"backend": "mlas", "scheme": "static"},
    "static-x86": {"backend": "x86", "weights": "torch", "scheme": "static"},
}


def check_models(folder, judge_list):
    import torch

    models = list(make_models(folder))
    orders = []
    for name, _, place, images in models:
        orders.append({"model": str(place), "files": [str(place / "fp32.pt"), str(place / "fp32.ptl")]})
        orders.append({"model": str(place), "dtype": "fp16", "files": [str(place / "fp16.pt"), str(place / "fp16.ptl")]})
        for backend in backends:
            orders.append({"model": str(place), "backend": backend, "weights": "torch", "files": [str(place / f"{backend}.ptl")]})
        orders[-1]["files"].append(str(place / "int8.pt"))
        images[:3].numpy().tofile(place / "images3.bin")
        shot = {"file": str(place / "images3.bin"), "shape": list(images.shape)}
        for kind, choice in against_onnx.items():
            onnx = {"images": shot, "onnx": str(place / f"{kind}.bin")}
            orders.append({"model": str(place), **choice, **onnx, "files": [str(place / f"{kind}.ptl"), str(place / f"{kind}.pt")]})
    subprocess.run(["node", here / "torchscript_models.mjs"], input=json.dumps(orders), text=True, check=True)

    references = {}
    for name, model, place, images in models:
        modules_of(model, place / "model.modules")
        for batch in (1, 3):
            images[:batch].numpy().tofile(place / f"images{batch}.bin")
            with torch.no_grad():
                references[name, batch] = model(images[:batch]).numpy()

    for python, version, engines in judge_list:
        for name, _, place, images in models:
            jobs, expected, what = [], [], []

            def job(file, batch, reference, title, **more):
                """`reference` is an array, or the number of the job whose outputs it is."""
                inputs = [{"file": str(place / f"images{batch}.bin"), "dtype": "float32", "shape": [batch, *images.shape[1:]]}]
                jobs.append({"file": str(place / file), "inputs": inputs, "outputs": str(place / f"out{len(jobs)}."), **more})
                expected.append(reference)
                what.append(title)
                return len(jobs) - 1

            for batch in (1, 3):
                timms = references[name, batch]
                for file in ("fp32.pt", "fp32.ptl", "model.modules"):
                    job(file, batch, timms, "modules" if file == "model.modules" else "FP32")
                for file in ("fp16.pt", "fp16.ptl") if version.split(".")[0] >= "2" else ():
                    job(file, batch, timms, "FP16")
            for engine in engines:
                own = {scheme: job("model.modules", 3, timms, "own int8", engine=engine, quantize=scheme) for scheme in set(backends.values())}
                for backend, scheme in backends.items():
                    job(f"{backend}.ptl", 3, own[scheme], f"int8 {engine}", engine=engine)
                    if backend == "qnnpack":
                        job("int8.pt", 3, own[scheme], f"int8 .pt, {engine}", engine=engine)
                for kind in against_onnx:
                    onnx = read(place / f"{kind}.bin", "float32", timms.shape)
                    for extension in ("pt", "ptl"):
                        job(f"{kind}.{extension}", 3, onnx, f"{kind} {engine}", engine=engine)
            worst, outputs = {}, []
            for given, reference, title, answer in zip(jobs, expected, what, run(python, jobs)):
                if "error" in answer:
                    report(f"{name} {given['file']} {title} torch {version}", False, answer["error"])
                    outputs.append(None)
                    continue
                outputs.append(read(f"{given['outputs']}0.bin", answer[0]["dtype"], answer[0]["shape"]))
                judged_by = outputs[reference] if isinstance(reference, int) else reference
                if judged_by is not None:
                    measure = norm_distance if title.split(" ")[0] in against_onnx else distance
                    worst[title] = max(worst.get(title, 0), measure(outputs[-1], judged_by))
            text = ", ".join(f"{title} {d:.1e}" for title, d in worst.items())
            tolerances = {"own": 0.3, **dict.fromkeys(against_onnx, 0.03), "FP16": 1e-2}
            good = all(d <= tolerances.get(title.split(" ")[0], 1e-5) for title, d in worst.items())
            report(f"{name} torch {version}", bool(worst) and good, text)

    for name, model, place, images in models:
        check_training(name, model, place, images)


def check_training(name, model, place, images):
    """The .pt file is a module one can go on training: timm's state, gradients everywhere, a loss that falls."""
    import torch

    module = torch.jit.load(place / "fp32.pt")
    own, timms = module.state_dict(), model.state_dict()
    same = list(own) and set(own) == set(timms) and all(torch.equal(own[key], timms[key]) for key in own)
    parameters = dict(module.named_parameters())
    optimizer = torch.optim.AdamW(parameters.values(), lr=1e-3)
    labels = torch.tensor([1, 2, 3])
    losses = []
    module.train()
    for _ in range(8):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(module(images), labels)
        loss.backward()
        losses.append(loss.item())
        missing = [key for key, p in parameters.items() if p.grad is None or not p.grad.isfinite().all() or not p.grad.any()]
        optimizer.step()
    module.eval()
    model.load_state_dict(module.state_dict())
    with torch.no_grad():
        back = distance(module(images).numpy(), model(images).numpy())
    complete = len(parameters) == len(list(model.parameters())) and not missing
    good = same and complete and losses[-1] < 0.5 * losses[0] and back <= 1e-5
    text = f"{len(own)} keys {'equal' if same else 'DIFFERENT'}, {len(parameters)} parameters, without gradient {missing or 'none'}, loss {losses[0]:.2f} to {losses[-1]:.2f}, trained state back in timm {back:.1e}"
    report(f"{name} trains", good, text)


def main():
    judge_list = judges()
    print("judges:", "; ".join(f"torch {version} ({', '.join(engines)})" for _, version, engines in judge_list))
    with tempfile.TemporaryDirectory() as folder:
        check_cases(pathlib.Path(folder) / "cases", judge_list)
        check_models(pathlib.Path(folder), judge_list)
    print(f"{len(failures)} failed" if failures else "all passed")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
