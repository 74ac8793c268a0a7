"""What a recipe means: the schedule of the learning rate, targets, losses, the groups of the optimizer."""

import math

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F

COURSES = {
    "cosine": lambda step, steps, _: (1 + math.cos(math.pi * min(1, step / max(1, steps)))) / 2,
    "step": lambda step, steps, job: job["decayRate"] ** ((step + job["totalSteps"] - steps) // job["decaySteps"]),
    "constant": lambda step, steps, _: 1.0,
}


def learning_rate(job: dict, step: int) -> float:
    """Of update `step` (0, 1, ...): a linear warm-up, then the course of the schedule."""
    rising = math.floor(job["warmup"] * job["totalSteps"] + 0.5)
    if step < rising:
        return job["lr"] * (step + 1) / rising
    return job["lr"] * COURSES[job["schedule"]](step - rising, job["totalSteps"] - rising, job)


def optimizer_of(job: dict, parameters: dict) -> torch.optim.Optimizer:
    """AdamW or SGD over groups of one rate and decay each."""
    groups = {}
    for entry in job["parameters"]:
        group = groups.setdefault((entry["rate"], entry["decays"]), [])
        group.append(parameters[entry["key"]])
    described = [
        {"params": group, "rate": rate, "weight_decay": job["weightDecay"] if decays else 0.0}
        for (rate, decays), group in groups.items()
    ]
    if job["optimizer"] == "sgd":
        return torch.optim.SGD(described, lr=job["lr"], momentum=job["momentum"], nesterov=job["nesterov"])
    return torch.optim.AdamW(described, lr=job["lr"], betas=(0.9, 0.999), eps=1e-8)


def mixed(job: dict, pixels: torch.Tensor, labels: torch.Tensor, draw: np.random.Generator):
    """Mixup, CutMix and label smoothing as timm's `Mixup` in its batch mode: the images and targets `[N, classes]`."""
    share = 1.0
    mixup, cutmix = job["mixup"], job["cutmix"]
    if (mixup or cutmix) and draw.uniform() < job["mixProb"]:
        pastes = cutmix and (not mixup or draw.uniform() < 0.5)
        share = draw.beta(*[cutmix if pastes else mixup] * 2)
        other = pixels.flip(0)
        if pastes:
            height, width = pixels.shape[2:]
            edge = math.sqrt(1 - share)
            top, bottom = interval(height, edge, draw)
            left, right = interval(width, edge, draw)
            pixels[:, :, top:bottom, left:right] = other[:, :, top:bottom, left:right]
            share = 1 - (bottom - top) * (right - left) / (height * width)
        else:
            pixels = pixels * share + other * (1 - share)
    classes, smoothing = job["classes"], job["labelSmoothing"]
    hot = F.one_hot(labels, classes).float() * (1 - smoothing) + smoothing / classes
    return pixels, hot * share + hot.flip(0) * (1 - share)


def interval(size: int, edge: float, draw: np.random.Generator):
    length = int(size * edge)
    center = int(draw.integers(size))
    return max(0, center - length // 2), min(size, center + (length + 1) // 2)


def kept_paths(job: dict, count: int, draw: np.random.Generator, device) -> list:
    """For each branch that can be left out `[N, 1]`: 0 for the images that go without it, else what scales it up."""
    kept = [(draw.random((count, 1), np.float32) < keep).astype(np.float32) / keep for keep in job["keeps"]]
    return [torch.from_numpy(factors).float().to(device) for factors in kept]


def floats(outputs) -> list:
    """The float outputs of a model, in float32."""
    every = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
    return [output.float() for output in every if output.is_floating_point()]


def soft(job: dict, outputs: list, taught: list) -> torch.Tensor:
    temperature = job["distillation"]["temperature"]
    ours, theirs = F.log_softmax(outputs[0] / temperature, -1), F.log_softmax(taught[0] / temperature, -1)
    return temperature**2 * (theirs.exp() * (theirs - ours)).sum()


def hard(_: dict, outputs: list, taught: list) -> torch.Tensor:
    return F.cross_entropy(outputs[0], taught[0].argmax(-1), reduction="sum")


def feature(job: dict, outputs: list, taught: list) -> torch.Tensor:
    return job["batchSize"] * distance(outputs[1:], taught[1:])


def distance(outputs: list, taught: list) -> torch.Tensor:
    """The mean over the outputs of their squared distance to the teacher's over the teacher's own squares.

    The squares are those of all processes, the distance that of this one.
    """
    total = 0
    for ours, theirs in zip(outputs, taught, strict=True):
        size = theirs.square().sum()
        dist.all_reduce(size)
        total = total + (ours - theirs).square().sum() / (size + 1e-12)
    return total / len(outputs)


# How far a model is from its teacher, the sum over the images of this process.
DISTANCES = {"soft": soft, "hard": hard, "feature": feature}


def classifying(job: dict, outputs: list, targets: torch.Tensor, taught: list):
    """The sum over this process's images of the cross-entropy, with a teacher also of how far its predictions are."""
    logits = outputs[0]
    loss = -(targets * F.log_softmax(logits, -1)).sum()
    if taught:
        weight = job["distillation"]["weight"]
        loss = (1 - weight) * loss + weight * DISTANCES[job["distillation"]["kind"]](job, outputs, taught)
    correct = (logits.argmax(-1) == targets.argmax(-1)).sum()
    return loss, correct


def matching(job: dict, outputs: list, taught: list):
    """How far all outputs are from the teacher's, times the images."""
    return job["batchSize"] * distance(outputs, taught), torch.zeros((), device=outputs[0].device)
