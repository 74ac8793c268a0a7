"""Gradients of one case of each family against timm: all parameters of the first case in conformance/zoo/FAMILY.json.

    python conformance/check_zoo_gradients.py [FAMILY]

timm's model computes in float64 and is in inference mode, so batch norms have their running statistics there as they
have in ours. The gradient is that of the cross-entropy with soft targets; each must agree to 1e-3 of its largest element, or
to ten times what PyTorch's own in float32 is off, where that is more.
"""

import copy
import json
import sys
import tempfile
from pathlib import Path

from check_zoo import CASES, input_of, timm_folder
from judge import node, torch, verdict
from safetensors.torch import load_file

TOLERANCE = 1e-3
BATCH, CLASSES = 3, 10
# Attention that is all but certain has next to no gradient, of which float32 keeps no digits: weights are half as steep.
STEEP = 0.5
# timm's mixes the images of a batch. Not one by one everywhere: PyTorch's own gradients of efficientvit_msra's batch norms
# are wrong for single images (2.4 of their size off finite differences in float64, those of a batch 1e-8).
ONE_BY_ONE = {"gcvit"}
# Below this part of the largest gradient of all a parameter's is rounding: a bias that a softmax cancels.
NOTHING = 1e-4


def first_cases(family):
    files = sorted(CASES.glob(f"{family or '*'}.json"))
    return [(path.stem, json.loads(path.read_text())[0]) for path in files]


def gradients_of(model, pixels, targets, one_by_one):
    outputs = torch.cat([model(image[None]) for image in pixels]) if one_by_one else model(pixels)
    torch.nn.functional.cross_entropy(outputs, targets).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


def worst_of(ours, theirs):
    """The parameter whose gradients differ most, and by how much."""
    largest = max(float(gradient.abs().max()) for gradient in theirs.values())
    errors = {}
    for name, gradient in theirs.items():
        if name not in ours:
            return name, float("inf")
        scale = max(float(gradient.abs().max()), NOTHING * largest)
        errors[name] = float((ours[name].reshape(gradient.shape) - gradient).abs().max()) / scale
    return max(errors.items(), key=lambda entry: entry[1])


def check(family, case, place):
    generator = torch.Generator().manual_seed(1)
    case = {**case, "args": {**case.get("args", {}), "num_classes": CLASSES}}
    with torch.no_grad():
        model = timm_folder(case, place / "model", generator, STEEP)
    pixels = torch.randn(BATCH, *input_of(model, case), generator=generator)
    targets = torch.softmax(3 * torch.randn(BATCH, CLASSES, generator=generator), dim=-1)
    files = {key: str(place / key) for key in ("pixels", "targets", "gradients", "trained")}
    pixels.numpy().tofile(files["pixels"])
    targets.numpy().tofile(files["targets"])
    request = dict(folder=str(place / "model"), batch=BATCH, steps=0, lr=0, weightDecay=0, clipNorm=0, **files)
    try:
        node("gradients.mjs", request)
    except SystemExit as stopped:
        said = [line for line in str(stopped).splitlines() if "Error:" in line]
        print(f"FAIL {family:28} {said[0] if said else stopped}", flush=True)
        return False
    ours = load_file(files["gradients"])
    single = family in ONE_BY_ONE
    theirs = gradients_of(copy.deepcopy(model), pixels, targets, single)
    exact = gradients_of(model.double(), pixels.double(), targets.double(), single)
    name, error = worst_of(ours, exact)
    own = worst_of(theirs, exact)[1]
    good = error < max(TOLERANCE, 10 * own)
    print(f"{'ok  ' if good else 'FAIL'} {family:28} {len(ours)} gradients {error:.1e} ({name}), PyTorch's {own:.1e}", flush=True)
    return good


def main():
    cases = first_cases(sys.argv[1] if len(sys.argv) > 1 else "")
    failed = 0
    for family, case in cases:
        with tempfile.TemporaryDirectory() as place:
            failed += not check(family, case, Path(place))
    verdict(failed, len(cases))


if __name__ == "__main__":
    main()
