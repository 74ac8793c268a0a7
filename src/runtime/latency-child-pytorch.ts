import { pythonLoop } from './latency-child-python.ts';

/**
 * The program that runs one `.pt` or `.ptl` file for the benchmark, speaking the protocol in
 * `latency-protocol.ts`. The setting `engine` selects PyTorch's quantized engine; it must be chosen
 * before the file is loaded, because integer weights are packed for it then. The size of the input is
 * in the file when we wrote it (`extra/pqv.json`); its type is found by trying.
 */
export const pytorchChild = `
import json, signal, zipfile
signal.signal(signal.SIGINT, signal.SIG_IGN)
import torch
from torch.jit.mobile import _load_for_lite_interpreter

model = feeds = None

def input_shape(path):
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith("extra/pqv.json"):
                notes = json.loads(json.loads(archive.read(name)).get("pqv.model", "{}"))
                if "preprocessing" in notes:
                    return notes["preprocessing"]["inputSize"]
    raise ValueError("the file does not say the size of its input")

def load(path, threads, batch, inputShape=None, settings={}):
    global model, feeds
    torch.set_num_threads(threads)
    engine = settings.get("engine")
    if engine:
        known = torch.backends.quantized.supported_engines
        if engine not in known:
            raise ValueError(f"this PyTorch has no engine {engine}; it has {', '.join(e for e in known if e != 'none')}")
        torch.backends.quantized.engine = engine
    model = _load_for_lite_interpreter(path) if path.endswith(".ptl") else torch.jit.load(path).eval()
    torch.manual_seed(0)
    feeds = torch.randn(batch, *(inputShape or input_shape(path)))
    try:
        once()
    except RuntimeError as error:
        if "Half" not in str(error):
            raise
        feeds = feeds.half()
    return {"engine": f"pytorch {torch.__version__}" + (f" {engine}" if engine else "")}

def once():
    with torch.inference_mode():
        model(feeds)

def told(said):
    if "prepacked::" in said:
        return "it was written for a PyTorch with XNNPACK (Android), which this one has not"
    return said
${pythonLoop}`;
