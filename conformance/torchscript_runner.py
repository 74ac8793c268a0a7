"""Loads .pt and .ptl files in the PyTorch that runs this script; needs nothing but torch.

Reads a list of jobs from standard input as JSON: {"file", "engine"?, "quantize"?, "inputs": [{"file", "dtype",
"shape"}], "outputs": PREFIX}. Runs each and writes its outputs as PREFIX0.bin, PREFIX1.bin ... Prints a JSON list
with, for each job, dtypes and shapes of the outputs or {"error"}. A file that ends with .modules is a model as
modules of torch.nn (see modules_of in check_torchscript.py); with "quantize", a [granularity, reduce_range], this
PyTorch's own dynamic quantization of it is run.
"""

import json
import math
import sys
import types
import warnings

import torch
from torch.jit.mobile import _load_for_lite_interpreter

warnings.filterwarnings("ignore")
dtypes = {"float32": torch.float32, "float64": torch.float64, "float16": torch.float16, "int64": torch.int64,
          "int32": torch.int32, "int8": torch.int8, "uint8": torch.uint8, "bool": torch.bool}
names = {dtype: name for name, dtype in dtypes.items()}


def read(entry):
    with open(entry["file"], "rb") as file:
        data = bytearray(file.read())
    return torch.frombuffer(data, dtype=dtypes[entry["dtype"]]).reshape(entry["shape"])


def modules_from(path):
    """The model of a .modules file."""
    spec = torch.load(path)
    root = torch.nn.Module()

    def place(target):
        *parents, name = target.split(".")
        module = root
        for parent in parents:
            if not hasattr(module, parent):
                module.add_module(parent, torch.nn.Module())
            module = getattr(module, parent)
        return module, name

    for target, (text, state) in spec["modules"].items():
        module, name = place(target)
        made = eval(text, dict(vars(torch.nn)))
        made.load_state_dict(state)
        module.add_module(name, made)
    for target, tensor in spec["tensors"].items():
        module, name = place(target)
        module.register_buffer(name, tensor)
    names_known = {"torch": torch, "inf": math.inf, "nan": math.nan}
    exec(spec["code"], names_known)
    root.forward = types.MethodType(names_known["forward"], root)
    return root.eval()


def dynamic_int8(model, granularity, reduce_range):
    """PyTorch's own dynamic quantization of a model."""
    from torch.ao.nn.quantized.dynamic import Linear
    from torch.ao.quantization import default_dynamic_qconfig, per_channel_dynamic_qconfig, quantize_dynamic

    config = per_channel_dynamic_qconfig if granularity == "channel" else default_dynamic_qconfig
    quantize_dynamic(model, {torch.nn.Linear: config}, dtype=torch.qint8, inplace=True)
    layers = [module for module in model.modules() if isinstance(module, Linear)]
    assert layers and not any(type(module) is torch.nn.Linear for module in model.modules())
    if not reduce_range:
        for layer in layers:
            layer.version = 3
    return model


def load(job):
    file = job["file"]
    if file.endswith(".modules"):
        module = modules_from(file)
        return dynamic_int8(module, *job["quantize"]) if "quantize" in job else module
    return torch.jit.load(file) if file.endswith(".pt") else _load_for_lite_interpreter(file)


def run(job):
    if "engine" in job:
        torch.backends.quantized.engine = job["engine"]
    module = load(job)
    with torch.no_grad():
        result = module(*[read(entry) for entry in job["inputs"]])
    results = result if isinstance(result, (tuple, list)) else [result]
    described = []
    for i, tensor in enumerate(results):
        tensor = tensor.detach().contiguous()
        with open(f"{job['outputs']}{i}.bin", "wb") as file:
            file.write(bytes(tensor.reshape(-1).view(torch.uint8).tolist()) if tensor.numel() else b"")
        described.append({"dtype": names[tensor.dtype], "shape": list(tensor.shape)})
    return described


if __name__ == "__main__":
    if "--engines" in sys.argv:
        engines = [engine for engine in torch.backends.quantized.supported_engines if engine != "none"]
        print(json.dumps({"torch": torch.__version__, "engines": engines}))
        sys.exit()
    torch.set_num_threads(2)
    answers = []
    for job in json.load(sys.stdin):
        try:
            answers.append(run(job))
        except Exception as error:
            answers.append({"error": str(error).strip().splitlines()[0][:300] + " | " + str(error).strip().splitlines()[-1][:300]})
    print(json.dumps(answers))
