"""What we write as .tflite computes in TensorFlow's interpreter what the float32 model computes in ONNX Runtime.

The judge needs tensorflow-cpu, in this Python or in that of PQV_TFLITE_PYTHON; without it nothing is checked.
Names as arguments are models to take, without the ops; --ops stops after the ops.
"""

import base64
import json
import os
import pathlib
import subprocess
import sys
import tempfile

other = os.environ.pop("PQV_TFLITE_PYTHON", None)
if other:
    sys.exit(subprocess.run([other, __file__, *sys.argv[1:]]).returncode)
try:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import numpy as np
    import tensorflow as tf
except ImportError:
    print("SKIPPED: no tensorflow here; PQV_TFLITE_PYTHON names a Python that has it")
    sys.exit(0)

here = pathlib.Path(__file__).resolve().parent
tolerances = {"fp32": 1e-4, "int8": 0.03, "fp16": 5e-3}
small = {"img_size": 64, "embed_dim": 96, "depth": 2, "num_heads": 3}
# name, arguments, whether XNNPACK must take all of it
models = [
    ("vit_tiny_patch16_224", small, True),
    ("deit_tiny_distilled_patch16_224", small, True),
    ("deit3_small_patch16_224", {**small, "init_values": 0.1}, True),
    ("vit_small_patch14_reg4_dinov2", {**small, "img_size": 56, "init_values": 0.1}, True),
    ("vit_base_patch16_siglip_224", small, False),
    ("vit_base_patch32_clip_quickgelu_224", {**small, "img_size": 64}, True),
    ("eva02_tiny_patch14_224", {**small, "img_size": 56}, False),
    ("swin_tiny_patch4_window7_224", {"img_size": 56, "embed_dim": 48, "depths": [2, 2], "num_heads": [2, 4]}, False),
    ("swinv2_tiny_window8_256", {"img_size": 64, "embed_dim": 48, "depths": [2, 2], "num_heads": [2, 4]}, False),
    ("pvt_v2_b0", {}, False),
    ("mobilevit_xxs", {}, False),
    ("levit_128s", {}, False),
]


def scores_of(file, images):
    """What TensorFlow's interpreter makes of images, each by itself, and into how many parts XNNPACK takes the file."""
    interpreter = tf.lite.Interpreter(file, num_threads=1)
    [name] = interpreter.get_signature_list()["serving_default"]["inputs"]
    run = interpreter.get_signature_runner("serving_default")
    logits = np.concatenate([next(iter(run(**{name: image[None]}).values())).ravel() for image in images])
    partitions = sum(row["op_name"] == "DELEGATE" for row in interpreter._get_ops_details())
    return logits, partitions


def golden(file):
    """The card's sample prepared by the card alone, as an app does it: how far the worst of its five scores is off, in tolerances."""
    card = json.loads(pathlib.Path(f"{file}.json").read_text())
    tiles, prepared = card["golden"]["image"], card["image"]
    pixels = np.frombuffer(base64.b64decode(tiles["pixels"]), np.uint8)
    pixels = pixels.reshape(tiles["height"], tiles["width"], tiles["channels"])
    _, height, width, channels = card["inputs"][0]["shape"]
    rows, columns = (np.arange(n) * m // n for n, m in ((height, tiles["height"]), (width, tiles["width"])))
    image = pixels[rows][:, columns].astype(np.float32) * np.float32(prepared["scale"]) + np.float32(prepared["offset"])
    if prepared["layout"] != "NHWC" or image.shape[2] != channels:
        raise ValueError(f"its card has images {prepared['layout']} of {image.shape[2]} channels")
    image = image.astype(card["inputs"][0]["dtype"])[None]
    scores, _ = scores_of(file, image)
    off = [abs(scores[row["index"]] - row["score"]) for row in card["golden"]["top5"]]
    return max(off) / card["golden"]["tolerance"]


def check_ops():
    """Each op alone, in every form that its cases have. Returns how many are wrong."""
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        answer = subprocess.run(["node", here / "tflite_ops.mjs", folder], stdout=subprocess.PIPE, text=True, check=True)
        answer = json.loads(answer.stdout)
        for case in answer["cases"]:
            try:
                interpreter = tf.lite.Interpreter(case["file"], num_threads=1)
                runner = interpreter.get_signature_runner("serving_default")
                types = {name: detail["dtype"] for name, detail in runner.get_input_details().items()}
                feeds = {
                    name: np.array(case["feeds"][name]["numbers"], np.float64).reshape(case["feeds"][name]["shape"]).astype(dtype)
                    for name, dtype in types.items()
                }
                found = runner(**feeds)
                far = 0.0
                for name, numbers in case["expected"].items():
                    expected = np.array(numbers, np.float64)
                    off = np.abs(found[name].astype(np.float64).ravel() - expected)
                    far = max(far, float(off.max(initial=0) / max(1e-3, np.abs(expected).max(initial=0))))
                # What rounds its activations to int8 is off by a step of that.
                if not far <= (0.03 if "DynamicQuantize" in case["name"] else 1e-4):
                    raise ValueError(f"{far:.1e} off")
            except Exception as error:
                failed += 1
                print(f"FAIL {case['name']}: {' '.join(str(error).split())[:200]}", flush=True)
        print(f"{len(answer['cases']) - failed} of {len(answer['cases'])} cases of ops are right", flush=True)
        for why, times in sorted(answer["refused"].items(), key=lambda row: -row[1]):
            print(f"     refused {times}: {why}")
    return failed


def main():
    wanted = [name for name in sys.argv[1:] if name != "--ops"]
    failed = 0 if wanted else check_ops()
    if "--ops" in sys.argv:
        sys.exit(1 if failed else 0)
    with tempfile.TemporaryDirectory() as folder:
        orders = [
            {"init": {"architecture": name, "modelArgs": args, "numClasses": 10}, "folder": f"{folder}/{name}"}
            for name, args, _ in models
        ]
        cifar = str(here.parent / "examples" / "cifar10_vit")
        orders.append({"model": cifar, "folder": f"{folder}/cifar10_vit"})
        rows = [*models, ("examples/cifar10_vit", {}, True)]
        taken = [i for i, (name, _, _) in enumerate(rows) if not wanted or name in wanted]
        rows, orders = [rows[i] for i in taken], [orders[i] for i in taken]
        answer = subprocess.run(
            ["node", here / "tflite_models.mjs"], input=json.dumps(orders), stdout=subprocess.PIPE, text=True, check=True
        )
        for (name, _, whole), order, made in zip(rows, orders, json.loads(answer.stdout)):
            if "error" in made:
                print(f"FAIL {name}: {made['error']}")
                failed += 1
                continue
            images = np.fromfile(f"{order['folder']}/images.bin", np.float32).reshape(-1, *made["shape"][1:])
            expected = np.fromfile(f"{order['folder']}/logits.bin", np.float32)
            good, told = True, []
            for dtype, file in made["files"].items():
                logits, partitions = scores_of(file, images)
                far = float(np.linalg.norm(logits - expected) / np.linalg.norm(expected))
                # A narrow model of random weights may lose more in int8, in ONNX Runtime too.
                allowed = max(tolerances[dtype], 1.25 * made["ownInt8"] if dtype == "int8" else 0)
                sample = golden(file)
                good = good and far <= allowed and (partitions == 1 or not whole) and sample <= 1
                told.append(f"{dtype} {far:.1e} in {partitions}, golden {sample:.2f}")
            failed += not good
            own = f", int8 in ONNX Runtime {made['ownInt8']:.1e}"
            print(f"{'ok  ' if good else 'FAIL'} {name}: {'; '.join(told)} (XNNPACK partitions; golden sample in its tolerances){own}", flush=True)
    print(f"{failed} failed" if failed else "all passed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
