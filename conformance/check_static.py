"""Static int8 against PyTorch's observers and ONNX Runtime's own quantizer, and every form against onnx.checker.

A small ViT is calibrated on images made here. For each min-max calibrated Linear, scale and zero point of
the input must be those of PyTorch's MinMaxObserver over the activations that ONNX Runtime computes for the
same images, and `torch` weights those of its weight observer. On other images the error against float32 must be
small where integer sums are exact on every processor, and for `safe` weights no more than 1.5 times that of
onnxruntime.quantization.quantize_static, calibrated on the same data with the same granularity (its plain weights
are a little nearer where this processor doesn't saturate, farther where it does).
"""

import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from judge import node, torch, verdict
from torch.ao.quantization import MinMaxObserver, PerChannelMinMaxObserver

SIZE = 64
warnings.filterwarnings("ignore", module="torch")
warnings.filterwarnings("ignore", message=".*quantized tensor creation.*")
rows = []


def check(what, ok, detail=""):
    rows.append(ok)
    print(f"{'ok  ' if ok else 'FAIL'} {what:58} {detail}")


def images(count, seed):
    """Smooth blobs with noise, normalized: neighbouring pixels agree as in photographs."""
    random = np.random.default_rng(seed)
    coarse = random.normal(size=(count, 3, 8, 8)).repeat(8, 2).repeat(8, 3)
    return (coarse + 0.3 * random.normal(size=(count, 3, SIZE, SIZE))).astype(np.float32)


def session(path):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def logits(path, pixels):
    return session(path).run(["logits"], {"pixel_values": pixels})[0]


def error(found, exact):
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


class Reader(CalibrationDataReader):
    def __init__(self, pixels):
        self.batches = iter([{"pixel_values": image[None]} for image in pixels])

    def get_next(self):
        return next(self.batches, None)


def theirs(source, target, pixels, method, extra):
    quantize_static(
        source, target, Reader(pixels), quant_format=QuantFormat.QDQ, op_types_to_quantize=["MatMul"], per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, calibrate_method=method,
        extra_options={"MatMulConstBOnly": True, "OpTypesToExcludeOutputQuantization": ["MatMul"], **extra},
    )


def activations(path, names, pixels):
    model = onnx.load(path)
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    probe = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip(names, probe.run(names, {"pixel_values": pixels})))


def check_parameters(folder, entry, calibration):
    """Scales, zero points and integer weights of a min-max calibrated model are PyTorch's."""
    reduce = entry["backend"] == "fbgemm"
    constants = {c.name: numpy_helper.to_array(c) for c in onnx.load(folder / entry["file"]).graph.initializer}
    floats = {c.name: numpy_helper.to_array(c) for c in onnx.load(folder / "fp32.onnx").graph.initializer}
    names = sorted({layer["input"] for layer in entry["layers"]})
    seen = activations(folder / "fp32.onnx", names, calibration)
    scales, points, weights = 0, 0, 0
    for layer in entry["layers"]:
        observer = MinMaxObserver(dtype=torch.quint8, reduce_range=reduce)
        observer(torch.from_numpy(seen[layer["input"]]))
        scale, point = observer.calculate_qparams()
        # Activations differ in their last bits with the batch size, so ends of the range may too.
        scales += bool(abs(constants[layer["scale"]] / float(scale) - 1) < 1e-5)
        points += bool(constants[layer["zeroPoint"]] == int(point))
        observer = PerChannelMinMaxObserver(dtype=torch.qint8, qscheme=torch.per_channel_symmetric)
        weight = torch.from_numpy(floats[layer["weight"]].copy())
        observer(weight)
        scale, point = observer.calculate_qparams()
        integers = torch.quantize_per_channel(weight, scale, point, 0, torch.qint8).int_repr().numpy()
        weights += bool(np.array_equal(constants[layer["weight"]].T, integers) and np.array_equal(constants[layer["weightScale"]], scale.numpy()))
    total = len(entry["layers"])
    check(f"{entry['file']}: activation scales of PyTorch", scales == total, f"{scales}/{total}")
    check(f"{entry['file']}: activation zero points of PyTorch", points == total, f"{points}/{total}")
    check(f"{entry['file']}: weights of PyTorch, bit for bit", weights == total, f"{weights}/{total}")


with tempfile.TemporaryDirectory() as temporary:
    folder = Path(temporary)
    calibration, held_out = images(40, 1), images(64, 2)
    (folder / "images").write_bytes(calibration.tobytes())
    models = node("static.mjs", {"folder": temporary, "images": str(folder / "images"), "shape": calibration.shape})["models"]
    exact = logits(folder / "fp32.onnx", held_out)

    errors = {}
    for entry in models:
        onnx.checker.check_model(onnx.load(folder / entry["file"]), full_check=entry.get("form") != "fused")
        found = error(logits(folder / entry["file"], held_out), exact)
        errors[entry["file"]] = found
        close = found < 0.06 if entry.get("exactSums", True) else True
        check(f"{entry['file']}: valid, close to float32", close, f"{found:.4f}")
    for entry in models:
        if entry.get("observer") == "minmax" and entry["weights"] == "torch" and "layers" in entry:
            check_parameters(folder, entry, calibration)

    prepared = folder / "prepared.onnx"
    quant_pre_process(str(folder / "fp32.onnx"), str(prepared), skip_symbolic_shape=True)
    methods = {
        "minmax": (CalibrationMethod.MinMax, {}),
        "percentile": (CalibrationMethod.Percentile, {"CalibPercentile": 99.999}),
        "mse": (CalibrationMethod.Entropy, {}),
    }
    for observer, (method, extra) in methods.items():
        target = folder / f"theirs-{observer}.onnx"
        theirs(prepared, target, calibration, method, extra)
        reference = error(logits(target, held_out), exact)
        ours = errors[f"mlas-safe-static-{observer}-qdq.onnx"]
        check(f"{observer} against their {method.name}", ours <= 1.5 * reference, f"ours {ours:.4f} theirs {reference:.4f}")

verdict(rows.count(False), len(rows))
