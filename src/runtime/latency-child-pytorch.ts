/**
 * The program that runs one `.pt` or `.ptl` file for the benchmark, speaking the protocol in
 * `latency-protocol.ts`. The setting `engine` selects PyTorch's quantized engine; it must be chosen
 * before the file is loaded, because integer weights are packed for it then. The size of the input is
 * in the file when we wrote it (`extra/pqv.json`); its type is found by trying.
 */
export const pytorchChild = `
import json, resource, signal, sys, time, zipfile
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
        run(1, 0)
    except RuntimeError as error:
        if "Half" not in str(error):
            raise
        feeds = feeds.half()
    return {"engine": f"pytorch {torch.__version__}" + (f" {engine}" if engine else "")}

def run(untimed, timed):
    milliseconds = []
    with torch.inference_mode():
        for _ in range(untimed):
            model(feeds)
        for _ in range(timed):
            start = time.perf_counter()
            model(feeds)
            milliseconds.append(1000 * (time.perf_counter() - start))
    return {"milliseconds": milliseconds}

def memory():
    try:
        with open("/proc/self/status") as status:
            peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
        return {"peakRssBytes": peak * 1024}
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {"peakRssBytes": peak if sys.platform == "darwin" else peak * 1024}

for line in sys.stdin:
    request = json.loads(line)
    handler = {"load": load, "run": run, "memory": memory}[request.pop("op")]
    try:
        reply = handler(**request)
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        if "prepacked::" in said:
            said = "it was written for a PyTorch with XNNPACK (Android), which this one has not"
        reply = {"error": said}
    print(json.dumps(reply), flush=True)
`;
