"""What we write as TorchScript (.pt) and PyTorch Lite (.ptl) computes in PyTorch what the model computes.

Judges: the PyTorch of this Python and, where there is one, that of the system's /usr/bin/python3 (Debian packages
an older release with other engines). PQV_OLD_PYTHON names another.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

here = pathlib.Path(__file__).resolve().parent
root = here.parent
runner = here / "torchscript_runner.py"
failures = []


def report(title, ok, text):
    print(f"{'ok  ' if ok else 'FAIL'} {title}: {text}", flush=True)
    if not ok:
        failures.append(title)


def judges():
    """Pythons with a PyTorch, as (executable, version, engines)."""
    found = []
    for python in (sys.executable, os.environ.get("PQV_OLD_PYTHON", "/usr/bin/python3")):
        answer = subprocess.run([python, runner, "--engines"], capture_output=True, text=True)
        if answer.returncode == 0:
            said = json.loads(answer.stdout)
            if said["torch"] not in [version for _, version, _ in found]:
                found.append((python, said["torch"], said["engines"]))
        elif python == sys.executable:
            sys.exit(f"no PyTorch in {python}: {answer.stderr}")
    return found


def run(python, jobs):
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    answer = subprocess.run([python, runner], input=json.dumps(jobs), capture_output=True, text=True, env=environment)
    if answer.returncode != 0:
        return [{"error": f"the process ended with {answer.returncode}: {answer.stderr[-300:]}"}] * len(jobs)
    return json.loads(answer.stdout)


def read(file, dtype, shape):
    return np.fromfile(file, dtype=dtype).reshape(shape)


def distance(got, expected):
    """Largest difference relative to the largest expected magnitude; infinite when values that are no numbers disagree."""
    if got.shape != expected.shape:
        return float("inf")
    got, expected = got.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(expected)
    if not np.array_equal(got[~finite], expected[~finite], equal_nan=True):
        return float("inf")
    scale = max(np.abs(expected[finite]).max(initial=0), 1e-30)
    return float(np.abs(got[finite] - expected[finite]).max(initial=0) / scale)


def check_cases(folder, judge_list):
    """Every row of the lowering table, against ONNX Runtime."""
    subprocess.run(["node", here / "torchscript_cases.mjs", folder], check=True)
    index = json.loads((folder / "cases.json").read_text())
    report("every row has a case", not index["missing"], ", ".join(index["missing"]) or "all")
    for python, version, _ in judge_list:
        for extension in ("pt", "ptl"):
            jobs = [
                {
                    "file": str(folder / f"{case['file']}.{extension}"),
                    "inputs": [{**entry, "file": str(folder / entry["file"])} for entry in case["inputs"]],
                    "outputs": str(folder / f"{case['file']}.{extension}."),
                }
                for case in index["cases"]
            ]
            bad, worst = 0, 0.0
            for case, job, answer in zip(index["cases"], jobs, run(python, jobs)):
                if "error" in answer:
                    report(f"{case['title']} .{extension} torch {version}", False, answer["error"])
                    bad += 1
                    continue
                for i, (said, expected) in enumerate(zip(answer, case["outputs"])):
                    got = read(f"{job['outputs']}{i}.bin", said["dtype"], said["shape"])
                    d = distance(got, read(folder / expected["file"], expected["dtype"], expected["shape"]))
                    if not d <= case["tolerance"] or said["dtype"] != expected["dtype"]:
                        report(f"{case['title']} .{extension} torch {version}", False, f"differs by {d:.1e}, {said} for {expected}")
                        bad += 1
                    elif case["tolerance"] < 1e-3:
                        worst = max(worst, d)
            report(f"op cases .{extension} torch {version}", bad == 0, f"{len(jobs)} graphs, {bad} wrong, largest difference {worst:.1e}")


def main():
    judge_list = judges()
    print("judges:", "; ".join(f"torch {version} ({', '.join(engines)})" for _, version, engines in judge_list))
    with tempfile.TemporaryDirectory() as folder:
        check_cases(pathlib.Path(folder) / "cases", judge_list)
    print(f"{len(failures)} failed" if failures else "all passed")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
