"""Loads .pt and .ptl files in the PyTorch that runs this script; needs nothing but torch.

Reads a list of jobs from standard input as JSON: {"file", "engine"?, "inputs": [{"file", "dtype", "shape"}],
"outputs": PREFIX}. Runs each and writes its outputs as PREFIX0.bin, PREFIX1.bin ... Prints a JSON list with,
for each job, dtypes and shapes of the outputs or {"error"}.
"""

import json
import sys
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


def run(job):
    if "engine" in job:
        torch.backends.quantized.engine = job["engine"]
    load = torch.jit.load if job["file"].endswith(".pt") else _load_for_lite_interpreter
    module = load(job["file"])
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
