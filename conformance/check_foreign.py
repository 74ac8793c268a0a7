"""Models that onnxruntime quantized (foreign_models.py), read, and written in every form and format.

    python conformance/check_foreign.py [--only PART] [--way PART] [--full] [--folder FOLDER]

Each file must have the parameters, multiply-accumulates and blocks of the float model; as it was read it must give what the file gives (ONNX
Runtime, its optimizer on or off), and so must what it is written as where it can be: nearer than the file is to the float model, or than it
is to itself on images that differ in their last bits, since a rounding that falls to the other side moves what all layers behind it
give. By default a small DeiT of our own
export alone (`deit.pqv`); --only "" takes all, --full at their full size.
"""

import argparse
import tempfile
from pathlib import Path

import numpy
from foreign_models import make
from judge import node, verdict
from onnxruntime import GraphOptimizationLevel, InferenceSession, SessionOptions

FORMATS = ["onnx", "fused", "integer", "qdq", "ort", "torchscript", "tflite"]
parser = argparse.ArgumentParser()
parser.add_argument("--only", default="deit.pqv", help="models whose name, as MODEL.SOURCE, has this in it")
parser.add_argument("--way", default="")
parser.add_argument("--full", action="store_true")
parser.add_argument("--folder", type=Path)
given = parser.parse_args()
folder = given.folder or Path(tempfile.mkdtemp())
rows = []


def check(name, holds, note=""):
    rows.append(bool(holds))
    if not holds:
        print(f"WRONG {name}: {note}", flush=True)


def run(path, size, optimized=False, nudged=0):
    """The scores, or None where ONNX Runtime does not load the file. Each nudge changes the last bits of the image otherwise."""
    options = SessionOptions()
    options.log_severity_level = 4
    if not optimized:
        options.graph_optimization_level = GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception:  # noqa: BLE001
        return None
    images = numpy.random.default_rng(9).standard_normal((1, 3, size, size)).astype(numpy.float32)
    if nudged:
        images = images * (1 + 1e-6 * numpy.random.default_rng(nudged).standard_normal(images.shape).astype(numpy.float32))
    return session.run(None, {session.get_inputs()[0].name: images})[0]


def distance(found, expected):
    return float(numpy.linalg.norm(found - expected) / numpy.linalg.norm(expected))


made = list(make(folder, given.only, given.way, given.full))
for model, source, way, path, note in made:
    if path is None:
        print(f"not made: {model}.{source}.{way}: {note}")
files = [(f"{model}.{source}.{way}", f"{model}.{source}", path, note) for model, source, way, path, note in made if path]
sizes = {of: size for _, of, _, size in files}
floats = [{"name": of, "path": str(folder / f"{of}.float.onnx")} for of in sizes]
exact = {one["name"]: one["inspection"] for one in node("foreign.mjs", {"folder": str(folder), "files": floats, "formats": []})}
for name, of, path, size in files:
    request = {"folder": str(folder), "files": [{"name": name, "path": str(path)}], "formats": FORMATS}
    (answer,) = node("foreign.mjs", request)
    if "error" in answer:
        check(name, False, answer["error"])
        continue
    found = answer["inspection"]
    for count in ("parameters", "macs", "blocks", "uncounted"):
        check(f"{name}: {count}", found[count] == exact[of][count], f"{found[count]}, the float model's {exact[of][count]}")
    half = name.endswith(".half")
    check(f"{name}: known as quantized", half or found["quantized"], "inspect says nothing of it")
    plain = run(folder / f"{of}.float.onnx", size)
    theirs = [scores for scores in (run(path, size), run(path, size, True)) if scores is not None]
    ours = [run(answer["loaded"], size), run(answer["loaded"], size, True)]
    # What the scheme itself loses, integer sums that saturate included, in the way that loses more.
    lost = max((distance(scores, plain) for scores in theirs), default=0.1)
    nudges = [(run(path, size, optimized, nudged), run(path, size, optimized)) for nudged in range(1, 5) for optimized in (False, True)]
    restless = max((distance(moved, still) for moved, still in nudges if still is not None), default=0)
    limit = max((1.5 if half else 0.7) * lost, 1.5 * restless, 1e-4)
    apart = min(distance(own, other) for own in ours for other in theirs or [plain])
    check(f"{name}: as read", apart <= limit, f"{apart:.1e} from the file, which is {lost:.1e} from float32, {restless:.1e} from itself")
    said, read = [], apart
    for target, written in answer["written"].items():
        if "error" in written:
            said.append(f"{target}: {written['error']}")
            check(f"{name}: {target}", "\n" not in written["error"] and "internal" not in written["error"], written["error"])
            continue
        said.append(target)
        if written["file"].endswith((".onnx", ".ort")):
            scores = run(written["file"], size, True)
            apart = min(distance(scores, other) for other in [*theirs, *ours])
            check(f"{name}: {target}", apart <= limit, f"{apart:.1e} from the file, {lost:.1e} lost by it, {restless:.1e} from itself")
    print(f"{name}: {found['precision']}; {lost:.1e} lost, {restless:.1e} restless, read to {read:.1e}; written as {', '.join(said)}", flush=True)
verdict(rows.count(False), len(rows))
