/**
 * What the programs in Python share: they define `load`, `once()`, which runs the loaded file once, and `told(error)`, what a
 * reader is to know of an error, and end with this, which speaks the protocol in `latency-protocol.ts` until its input ends.
 */
export const pythonLoop = `
import json, resource, signal, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)

def run(untimed, timed):
    milliseconds = []
    for _ in range(untimed):
        once()
    for _ in range(timed):
        start = time.perf_counter()
        once()
        milliseconds.append(1000 * (time.perf_counter() - start))
    return {"milliseconds": milliseconds}

def memory():
    try:
        # getrusage would count the peak of the process that started this one
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
        reply = {"error": told(" ".join(str(error).split()) or type(error).__name__)}
    print(json.dumps(reply), flush=True)
`;
