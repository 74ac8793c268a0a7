"""Dynamic int8 and float16 against PyTorch's quantize_dynamic, ONNX Runtime's own quantizer and onnx.checker.

With `torch` weights the int8 weights and the scales of every Linear of a DeiT-Tiny must be, to the bit, those that
torch.ao.quantization.quantize_dynamic gives a Linear with the same weight (per channel or per tensor, as the
backend has it); `safe` weights must keep every pair of neighbours within 128. The error against float32 must be
no more than 1.2 times that of onnxruntime.quantization.quantize_dynamic at the same granularity; 1.5 times where
weights are safe (theirs may saturate on this processor, or not), 2 times where activations have 7 bits. float16 models must be within 1e-3 of
float32 with weights as timm draws them; with weights three times as large, where rounding the weights alone
comes close to that, no further than timm's model is from itself in torch.float16. Every file, as it stands and as it ships, must pass onnx.checker and load here.
"""

import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from judge import node, timm, torch, verdict
from torch.ao.quantization import default_dynamic_qconfig, per_channel_dynamic_qconfig
from torch.ao.quantization import quantize_dynamic as torch_quantize_dynamic

warnings.filterwarnings("ignore", module="torch")
warnings.filterwarnings("ignore", message=".*quantized tensor creation.*")
PER_TENSOR = {"qnnpack"}
rows = []


def check(what, ok, detail=""):
    rows.append(bool(ok))
    print(f"{'ok  ' if ok else 'FAIL'} {what:52} {detail}")


def logits(path, pixels):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    half = session.get_inputs()[0].type == "tensor(float16)"
    found = session.run(["logits"], {"pixel_values": pixels.astype(np.float16) if half else pixels})[0]
    return found.astype(np.float32)


def error(found, exact):
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


def largest(found, exact):
    return float(np.abs(found - exact).max() / np.abs(exact).max())


def constants(path):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}


def largest_pair(weight):
    """Of int8 [in, out]: the largest sum of rows 2j and 2j + 1 where their signs are equal."""
    wide = weight[: len(weight) // 2 * 2].astype(int)
    first, second = wide[0::2], wide[1::2]
    return int(np.abs(np.where(first * second > 0, first + second, 0)).max())


def judged(weight, backend):
    """PyTorch's int8 numbers [out, in] and scales of a Linear with this weight."""
    qconfig = default_dynamic_qconfig if backend in PER_TENSOR else per_channel_dynamic_qconfig
    linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    linear.weight.data = torch.from_numpy(weight.copy())
    quantized = torch_quantize_dynamic(torch.nn.Sequential(linear), {torch.nn.Linear: qconfig})[0].weight()
    if quantized.qscheme() == torch.per_tensor_affine:
        return quantized.int_repr().numpy(), np.float32(quantized.q_scale())
    return quantized.int_repr().numpy(), quantized.q_per_channel_scales().numpy().astype(np.float32)


folder = Path(tempfile.mkdtemp(prefix="pqv-quantize-"))
models = node("quantize.mjs", {"folder": str(folder)})["models"]
random = np.random.default_rng(3)
pixels = (
    random.normal(size=(4, 3, 14, 14)).repeat(16, 2).repeat(16, 3) + 0.3 * random.normal(size=(4, 3, 224, 224))
).astype(np.float32)
exacts = {name: logits(folder / f"{name}.onnx", pixels) for name in ("fp32", "fresh")}
exact = exacts["fp32"]
floats = constants(folder / "fp32.onnx")

reference = timm.create_model("deit_tiny_patch16_224").eval()
reference.load_state_dict({name: torch.from_numpy(floats[name].copy()) for name in reference.state_dict()})
with torch.no_grad():
    check("PyTorch in float32: outputs", largest(reference(torch.from_numpy(pixels)).numpy(), exact) <= 1e-5)
    half = largest(reference.half()(torch.from_numpy(pixels).half()).float().numpy(), exact)

theirs = {}
for per_channel in (True, False):
    target = folder / f"theirs-{per_channel}.onnx"
    quantize_dynamic(
        folder / "fp32.shipped.onnx", target, op_types_to_quantize=["MatMul"], per_channel=per_channel,
        weight_type=QuantType.QInt8, extra_options={"MatMulConstBOnly": True},
    )
    theirs[per_channel] = logits(target, pixels)

for model in models:
    path = folder / model["file"]
    try:
        onnx.checker.check_model(onnx.load(path))
        accepted = ""
    except onnx.checker.ValidationError as refusal:
        accepted = str(refusal).splitlines()[0]
    check(f"{model['file']}: onnx.checker", not accepted, accepted)
    found = logits(path, pixels)
    if model["dtype"] == "int8":
        quantizer = theirs[model["weights"] == "safe" or model["backend"] not in PER_TENSOR]
        times = 1.5 if model["weights"] == "safe" else 2 if model["reduceRange"] else 1.2
        ours, quantizers = error(found, exact), error(quantizer, exact)
        check(f"{model['file']}: error against float32", ours <= times * quantizers, f"{ours:.4f}, onnxruntime's quantizer {quantizers:.4f}")
    else:
        of = model["of"]
        limit = 1e-5 if model["dtype"] == "fp32" else 1e-3 if of == "fresh" else half
        ours = largest(found, exacts[of])
        check(f"{model['file']}: outputs", ours <= limit, f"{ours:.2e} of the largest logit, limit {limit:.2e}; {path.stat().st_size / 1e6:.1f} MB")
    if model.get("layers"):
        ours = constants(path)
        wrong = []
        if model["weights"] == "safe":
            pairs = max(largest_pair(ours[layer["weight"]]) for layer in model["layers"])
            check(f"{model['file']}: pairs of neighbours", pairs <= 128, f"add up to {pairs} at most")
            continue
        for layer in model["layers"]:
            values, scale = judged(floats[layer["weight"]], model["backend"])
            same = np.array_equal(ours[layer["weight"]].T, values) and np.array_equal(ours[layer["scale"]], scale)
            if not same:
                wrong.append(layer["weight"])
        count = len(model["layers"])
        check(f"{model['file']}: weights and scales", not wrong, f"{count - len(wrong)} of {count} layers equal PyTorch's {wrong[:3] or ''}")

verdict(rows.count(False), len(rows))
