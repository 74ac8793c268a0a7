"""Batch norms in training against PyTorch's train mode: one small model of each family with convolutions.

Three SGD steps with momentum on timm's model in train mode, in float64: the loss of each step, the momentum of every
parameter after each (after the first it is the gradient), and in the end parameters, running statistics and the running
mean of both, which is timm's ModelEmaV3. Once with two batches to an update. Each must agree to 1e-4 of its largest
element, or to ten times what PyTorch's own in float32 is off, where that is more. A gradient that is zero but for
rounding, that of a bias which a norm cancels, is compared on the scale of the largest.
"""

import copy
import json
import tempfile
from pathlib import Path

from check_zoo import input_of, timm_folder
from judge import node, timm, torch, verdict
from safetensors.torch import load_file
from timm.utils import ModelEmaV3

TOLERANCE = 1e-4
UPDATES, CLASSES, LR, MOMENTUM, EMA = 3, 10, 0.02, 0.9, 0.8
# Below this part of the largest of its kind a tensor in float64 is zero.
ZERO = 1e-10
torch.set_num_threads(1)  # small models
# LeViT's head normalizes one number an image: of few, float32 keeps no digits.
IMAGES = {"levit": 16, "repvit": 4, "efficientformer": 4, "tiny_vit": 4, "mobilevit": 4}


def steps(model, batches, accumulate):
    """Losses, and the state after each update, by the names of our slots."""
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.eval()
    ema = ModelEmaV3(model, decay=EMA)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM)
    losses, states = [], []
    for i, (pixels, targets) in enumerate(batches):
        loss = torch.nn.functional.cross_entropy(model(pixels), targets)
        (loss / accumulate).backward()
        losses.append(loss.item())
        if (i + 1) % accumulate:
            continue
        optimizer.step()
        optimizer.zero_grad()
        ema.update(model)
        state = {name: value.clone() for name, value in model.state_dict().items() if value.is_floating_point()}
        momenta = {f"m.{name}": optimizer.state[p]["momentum_buffer"] for name, p in model.named_parameters()}
        means = {f"ema.{name}": value for name, value in ema.module.state_dict().items() if value.is_floating_point()}
        states.append({**state, **{key: value.clone() for key, value in {**momenta, **means}.items()}})
    return losses, states


def worst_of(ours, theirs):
    """Of each kind of slot, the largest error of any, and where."""
    found = {}
    for slot, value in theirs.items():
        kind = slot.split(".")[0] if slot.split(".")[0] in ("m", "ema") else "running" if "running_" in slot else "weight"
        peers = [other for other in theirs if other.startswith(("m.", "ema.")) == slot.startswith(("m.", "ema."))]
        largest = max(float(theirs[other].abs().max()) for other in peers)
        size = float(value.abs().max())
        scale = size if size > ZERO * largest else largest
        error = float((ours[slot].reshape(value.shape) - value).abs().max()) / scale if slot in ours else float("inf")
        found[kind] = max(found.get(kind, (0.0, "")), (error, slot))
    return found


def check(family, accumulate, place):
    generator, images = torch.Generator().manual_seed(2), IMAGES[family]
    case = json.loads((Path(__file__).parent / "zoo" / f"{family}.json").read_text())[0]
    case = {**case, "args": {**case.get("args", {}), "num_classes": CLASSES}}
    model = timm_folder(case, place / "model", generator, 0.7)
    draw = lambda: (
        torch.randn(images, *input_of(model, case), generator=generator),
        torch.softmax(3 * torch.randn(images, CLASSES, generator=generator), dim=-1),
    )
    batches = [draw() for _ in range(UPDATES * accumulate)]
    files = []
    for i, (pixels, targets) in enumerate(batches):
        paths = {key: str(place / f"{key}{i}") for key in ("pixels", "targets", "state")}
        pixels.numpy().tofile(paths["pixels"])
        targets.numpy().tofile(paths["targets"])
        files.append(paths)
    request = dict(folder=str(place / "model"), batches=files, images=images, lr=LR, momentum=MOMENTUM)
    answer = node("batch_norm.mjs", {**request, "accumulate": accumulate, "emaDecay": EMA})
    ours = [load_file(paths["state"]) for paths in files[accumulate - 1 :: accumulate]]

    own_losses, own = steps(copy.deepcopy(model), batches, accumulate)
    losses, theirs = steps(model.double(), [(a.double(), b.double()) for a, b in batches], accumulate)
    far = lambda found: max(abs(a - b) / abs(b) for a, b in zip(found, losses))
    errors, limits = {"loss": (far(answer["losses"]), "")}, {"loss": (far(own_losses), "")}
    for step in range(UPDATES):
        for found, values in ((errors, ours), (limits, own)):
            for kind, error in worst_of(values[step], theirs[step]).items():
                found[kind] = max(found.get(kind, (0.0, "")), error)
    norms = sum("running_" in slot and not slot.startswith("ema.") for slot in ours[-1])
    good = all(errors[kind][0] < max(TOLERANCE, 10 * limits[kind][0]) for kind in errors)
    figures = ", ".join(f"{kind} {errors[kind][0]:.1e} (PyTorch's {limits[kind][0]:.1e})" for kind in errors)
    print(f"{'ok  ' if good else 'FAIL'} {family} x{accumulate}: {norms} statistics, {figures}", flush=True)
    return good


cases = [(family, 1) for family in IMAGES] + [("repvit", 2)]
failed = 0
for family, accumulate in cases:
    with tempfile.TemporaryDirectory() as temporary:
        failed += not check(family, accumulate, Path(temporary))
verdict(failed, len(cases))
