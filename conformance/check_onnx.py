"""Reading and writing any ONNX graph loses nothing.

Every model that the onnx package carries as its own test data, and models made here for what those lack
(subgraphs, functions, external data, metadata, odd element types), goes through our reader and writer and
must come back with the same meaning, and still satisfy onnx.checker where the original did.
"""

import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

root = pathlib.Path(__file__).resolve().parent.parent


def made_here(folder):
    then = helper.make_graph([helper.make_node("Add", ["x", "w"], ["t"])], "then", [], [helper.make_tensor_value_info("t", 1, None)])
    other = helper.make_graph([helper.make_node("Sub", ["x", "w"], ["e"])], "else", [], [helper.make_tensor_value_info("e", 1, None)])
    weight = numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(2, 3), "w")
    weight.doc_string = "a weight"
    branch = helper.make_node("If", ["c"], ["y"], name="pick", then_branch=then, else_branch=other)
    branch.metadata_props.add(key="from", value="here")
    custom = helper.make_node("Twice", ["y"], ["z"], domain="own")
    function = helper.make_function("own", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 20)])
    graph = helper.make_graph(
        [branch, custom],
        "everything",
        [helper.make_tensor_value_info("c", TensorProto.BOOL, []), helper.make_tensor_value_info("x", 1, ["N", 3])],
        [helper.make_tensor_value_info("z", 1, ["N", 3])],
        [weight],
        doc_string="with a subgraph, a function and notes",
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid("own", 1)], functions=[function], ir_version=10)
    helper.set_model_props(model, {"author": "ours"})
    onnx.save(model, folder / "everything.onnx")

    rows = []
    for dtype in (TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT8, TensorProto.UINT16, TensorProto.DOUBLE, TensorProto.UINT64, TensorProto.BOOL, TensorProto.INT4, TensorProto.FLOAT8E4M3FN):
        rows.append(helper.make_tensor(f"raw{dtype}", dtype, [4], np.array([1, 0, 1, 0])))
    rows.append(helper.make_tensor("text", TensorProto.STRING, [2], [b"one", "zwei ü".encode()]))
    rows.append(helper.make_tensor("typed", TensorProto.FLOAT, [3], [1.5, -2.5, 3.25]))
    rows.append(helper.make_tensor("empty", TensorProto.INT64, [0], []))
    nodes = [helper.make_node("Identity", [t.name], [f"o_{t.name}"]) for t in rows]
    outputs = [helper.make_tensor_value_info(f"o_{t.name}", t.data_type, list(t.dims)) for t in rows]
    types = helper.make_model(helper.make_graph(nodes, "types", [], outputs, rows), opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.save(types, folder / "types.onnx")

    big = numpy_helper.from_array(np.random.rand(64, 64).astype(np.float32), "big")
    external = helper.make_model(
        helper.make_graph([helper.make_node("Identity", ["big"], ["o"])], "external", [], [helper.make_tensor_value_info("o", 1, [64, 64])], [big]),
        opset_imports=[helper.make_opsetid("", 20)], ir_version=9,
    )
    onnx.save(external, folder / "external.onnx", save_as_external_data=True, location="external.bin", size_threshold=100)


def tensor_key(tensor):
    values = numpy_helper.to_array(tensor)
    content = values.tolist() if values.dtype == object else values.tobytes()
    return tensor.name, tensor.data_type, tuple(tensor.dims), tensor.doc_string, content


def attribute_key(attribute):
    if attribute.type == onnx.AttributeProto.GRAPH:
        return attribute.name, graph_key(attribute.g)
    if attribute.type == onnx.AttributeProto.TENSOR:
        return attribute.name, tensor_key(attribute.t)[1:]
    return attribute.name, attribute.SerializeToString(deterministic=True)


def node_key(node):
    return (
        list(node.input), list(node.output), node.name, node.op_type, "" if node.domain == "ai.onnx" else node.domain,
        sorted((attribute_key(a) for a in node.attribute), key=str), [(p.key, p.value) for p in node.metadata_props],
    )


def type_key(info):
    return info.name, info.type.SerializeToString(deterministic=True)


def graph_key(graph):
    return (
        graph.name, graph.doc_string, [node_key(n) for n in graph.node], [tensor_key(t) for t in graph.initializer],
        [i.name for i in graph.input], [o.name for o in graph.output],
        [t.SerializeToString() for t in graph.sparse_initializer],
    )


def model_key(model):
    return (
        graph_key(model.graph), sorted((o.domain if o.domain != "ai.onnx" else "", o.version) for o in model.opset_import),
        sorted((p.key, p.value) for p in model.metadata_props), [f.SerializeToString(deterministic=True) for f in model.functions], model.ir_version,
    )


def checks(path):
    try:
        onnx.checker.check_model(str(path))
        return True
    except Exception:
        return False


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    made_here(folder)
    carried = pathlib.Path(onnx.__file__).parent / "backend" / "test" / "data"
    models = sorted(carried.rglob("*.onnx")) + sorted(folder.glob("*.onnx"))
    pairs = [(path, folder / f"out{i}.onnx") for i, path in enumerate(models)]
    driver = subprocess.run(
        ["node", str(root / "conformance" / "roundtrip.mjs")],
        input="\n".join(f"{a}\t{b}" for a, b in pairs), text=True, capture_output=True,
    )
    failures = driver.stdout.splitlines()
    if driver.stderr:
        failures.append(driver.stderr)
    for source, copy in pairs:
        if not copy.exists():
            continue
        if model_key(onnx.load(source)) != model_key(onnx.load(copy)):
            failures.append(f"DIFFERS {source.name}")
        if checks(source) and not checks(copy):
            failures.append(f"REJECTED {source.name} by onnx.checker after the round trip")
    for failure in failures:
        print(failure)
    print(f"onnx round trip: {len(pairs)} models, {len(failures)} failures")
    sys.exit(1 if failures else 0)
