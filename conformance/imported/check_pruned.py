"""Judges pruned imports: what is left of a file is rebuilt from pruning.json, in Python.

    python conformance/imported/check_pruned.py FOLDER [--only PART] [--exporter PART]

FOLDER is what make.py wrote. Each file is loaded by us and pruned at 0.25 and 0.5. Then, by onnx, numpy and onnxruntime:
- the model before pruning computes what the file itself does, to 1e-4 (float16: 5e-3);
- every tensor of the pruned model is that of the model before, at the indices that pruning.json names, bit for bit;
- the model before, with zeros at all other indices, gives the outputs of the pruned model, to 1e-4. Norms and means are over
  channels that are not zero in all places: which those are is seen by the numbers, our groups have no part in it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
import onnx
import onnxruntime
from onnx import helper, numpy_helper

ROOT = Path(__file__).resolve().parent.parent.parent
RATIOS = (0.25, 0.5)
NORMS = ("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization")


def initializers(model):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def run(model, pixels):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    source = model if isinstance(model, str) else model.SerializeToString()
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: pixels})


def apart(found, wanted):
    """The largest difference of an output, over its largest number."""
    if [x.shape for x in found] != [x.shape for x in wanted]:
        return float("inf")
    return max(float(numpy.abs(a - b).max() / max(numpy.abs(b).max(), 1e-30)) for a, b in zip(found, wanted))


def wrong_tensors(dense, pruned, kept):
    """Names of tensors that are not the numbers kept of those before. Small integers are shapes, which change."""
    before = initializers(dense)
    wrong = []
    for name, found in initializers(pruned).items():
        if found.dtype.kind != "f":
            continue
        wanted = before.get(name)
        for axis, indices in kept.get(name, {}).items():
            wanted = wanted.take(indices, axis=int(axis))
        if wanted is None or wanted.shape != found.shape or not (wanted == found).all():
            wrong.append(name)
    return wrong


class Masked:
    """The model before pruning, with zeros for what went, and statistics of what is not zero."""

    def __init__(self, dense, kept):
        self.model = onnx.ModelProto()
        self.model.CopyFrom(dense)
        self.opset = next(entry.version for entry in dense.opset_import if entry.domain in ("", "ai.onnx"))
        graph = onnx.shape_inference.infer_shapes(dense).graph
        values = [*graph.value_info, *graph.input, *graph.output]
        self.ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in values}
        self.constants = initializers(dense)
        for tensor in self.model.graph.initializer:
            if tensor.name not in kept:
                continue
            numbers = numpy_helper.to_array(tensor).copy()
            for axis, indices in kept[tensor.name].items():
                gone = numpy.setdiff1d(numpy.arange(numbers.shape[int(axis)]), indices)
                numpy.moveaxis(numbers, int(axis), 0)[gone] = 0
            tensor.CopyFrom(numpy_helper.from_array(numbers, tensor.name))
        self.nodes = []
        for node in self.model.graph.node:
            rank = self.ranks.get(node.input[0]) if node.input else None
            if node.op_type in NORMS and rank:
                self.norm(node, rank)
            elif node.op_type == "ReduceMean" and rank:
                self.mean(node, rank)
            elif node.op_type == "InstanceNormalization" and rank:
                self.instance(node, rank)
            else:
                self.nodes.append(node)
        del self.model.graph.node[:]
        self.model.graph.node.extend(self.nodes)

    def op(self, kind, *inputs, **attributes):
        name = f"masked_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(self, numbers):
        name = f"masked_constant_{len(self.model.graph.initializer)}"
        self.model.graph.initializer.append(numpy_helper.from_array(numpy.asarray(numbers), name))
        return name

    def reduce(self, kind, x, axes, keepdims=1):
        if not axes:
            return x
        as_input = self.opset >= (13 if kind == "ReduceSum" else 18)
        if as_input:
            return self.op(kind, x, self.constant(numpy.array(axes, numpy.int64)), keepdims=keepdims)
        return self.op(kind, x, axes=axes, keepdims=keepdims)

    def present(self, x, axes, rank):
        """1 where something along the other axes is not zero."""
        others = [axis for axis in range(rank) if axis not in axes]
        some = self.op("Greater", self.reduce("ReduceMax", self.op("Abs", x), others), self.constant(numpy.float32(0)))
        return self.op("Cast", some, to=onnx.TensorProto.FLOAT)

    def mean_of(self, x, mask, axes, keepdims=1):
        count = self.op("Max", self.reduce("ReduceSum", mask, axes, keepdims), self.constant(numpy.float32(1)))
        return self.op("Div", self.reduce("ReduceSum", x, axes, keepdims), count)

    def unit(self, x, axes, rank, epsilon, centred):
        mask = self.present(x, axes, rank)
        if centred:
            x = self.op("Mul", self.op("Sub", x, self.mean_of(x, mask, axes)), mask)
        variance = self.mean_of(self.op("Mul", x, x), mask, axes)
        deviation = self.op("Sqrt", self.op("Add", variance, self.constant(numpy.float32(epsilon))))
        return self.op("Div", x, deviation)

    def attributes(self, node):
        return {a.name: helper.get_attribute_value(a) for a in node.attribute}

    def norm(self, node, rank):
        given = self.attributes(node)
        first = given.get("axis", -1) % rank
        centred = node.op_type == "LayerNormalization"
        x = self.unit(node.input[0], list(range(first, rank)), rank, given.get("epsilon", 1e-5), centred)
        bias = len(node.input) > 2 and node.input[2]
        scaled = helper.make_node("Mul", [x, node.input[1]], [f"{node.output[0]}_scaled" if bias else node.output[0]])
        self.nodes.append(scaled)
        if bias:
            self.nodes.append(helper.make_node("Add", [scaled.output[0], bias], [node.output[0]]))

    def instance(self, node, rank):
        x = self.unit(node.input[0], list(range(2, rank)), rank, self.attributes(node).get("epsilon", 1e-5), True)
        shape = self.constant(numpy.array([-1] + [1] * (rank - 2), numpy.int64))
        scale, bias = (self.op("Reshape", name, shape) for name in node.input[1:])
        self.nodes.append(helper.make_node("Add", [self.op("Mul", x, scale), bias], [node.output[0]]))

    def mean(self, node, rank):
        given = self.attributes(node)
        axes = given.get("axes") or (self.constants[node.input[1]].tolist() if len(node.input) > 1 else range(rank))
        axes = [axis % rank for axis in axes]
        mask = self.present(node.input[0], axes, rank)
        mean = self.mean_of(node.input[0], mask, axes, given.get("keepdims", 1))
        self.nodes.append(helper.make_node("Identity", [mean], [node.output[0]]))


def judge(file, record, answer, output):
    """What does not hold of a file; nothing if all does."""
    if "error" in answer:
        return [answer["error"]]
    half = record["exporter"].startswith("half")
    pixels = numpy.random.default_rng(3).standard_normal((2, *record["input"])).astype(numpy.float32)
    dense = onnx.load(output / "dense" / "model.onnx")
    faults = []
    off = apart(run(dense, pixels), run(str(file), pixels))
    if not off <= (5e-3 if half else 1e-4):
        faults.append(f"imported: {off:.1e} from the file")
    for ratio, check in answer["ratios"].items():
        pruned = onnx.load(output / ratio / "model.onnx")
        kept = json.loads((output / ratio / "pruning.json").read_text())["kept"]
        wrong = wrong_tensors(dense, pruned, kept)
        if wrong:
            faults.append(f"{ratio}: {len(wrong)} tensors are not those kept: {wrong[0]}")
        if not kept:
            faults.append(f"{ratio}: nothing went")
        off = apart(run(pruned, pixels), run(Masked(dense, kept).model, pixels))
        if not off <= 1e-4:
            faults.append(f"{ratio}: {off:.1e} from the masked model")
        if check["unchecked"]:
            faults.append(f"{ratio}: unchecked by prune: {check['unchecked'][0]}")
    return faults


def check(folder, only="", exporter=""):
    """How many files do not hold, of how many."""
    corpus = json.loads((folder / "corpus.json").read_text())
    driver = subprocess.Popen(
        ["node", str(Path(__file__).with_name("prune.mjs"))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )
    failed = total = 0
    for name, record in corpus.items():
        if "error" in record or only not in record["model"] or exporter not in record["exporter"]:
            continue
        with tempfile.TemporaryDirectory() as temporary:
            request = {"file": str(folder / name), "output": temporary, "ratios": RATIOS}
            driver.stdin.write(json.dumps(request) + "\n")
            driver.stdin.flush()
            faults = judge(folder / name, record, json.loads(driver.stdout.readline()), Path(temporary))
        total += 1
        failed += bool(faults)
        print(f"{name:50} {'; '.join(faults) or 'ok'}", flush=True)
    driver.stdin.close()
    driver.wait()
    return failed, total


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--exporter", default="")
    options = parser.parse_args()
    failed, total = check(options.folder.resolve(), options.only, options.exporter)
    print(f"{total - failed} of {total} hold")
    sys.exit(failed > 0 or total == 0)
