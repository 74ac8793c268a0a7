"""What the Python judges share: torch and timm ready for use, and Node drivers run from here."""

import json
import subprocess
import sys
from pathlib import Path

import torch

# timm imports torchvision only for a box operator that no judge calls; where torchvision was built for
# another torch, declaring the operators' names is enough to import it.
_library = torch.library.Library("torchvision", "DEF")
for _schema in (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
):
    try:
        _library.define(_schema)
    except RuntimeError:
        pass

import timm  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent

__all__ = ["ROOT", "node", "randomized", "relative", "timm", "torch", "verdict"]


def node(driver: str, request: object) -> object:
    """Runs conformance/DRIVER in Node with a JSON request on stdin; its answer is JSON on stdout."""
    done = subprocess.run(
        ["node", str(ROOT / "conformance" / driver)],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    if done.returncode != 0:
        sys.exit(f"{driver} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def randomized(model, generator, steep=1.0):
    """Everything in the state dict drawn anew, so that nothing is hidden by a zero, a one or a tiny layer scale.

    `steep` scales the weights of products and convolutions.
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim <= 1:
                scale = name.endswith("gamma") or (name.endswith("weight") and parameter.ndim == 1)
                parameter.copy_((1.0 if scale else 0.0) + 0.2 * noise)
            elif name.endswith(("_token", "pos_embed", "latent")):
                parameter.copy_(0.5 * noise)
            else:
                parameter.copy_(steep * noise * parameter[0].numel() ** -0.5)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(0.2 * torch.randn(buffer.shape, generator=generator))
            elif name.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    return model.eval()


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """The largest absolute difference over the largest absolute value of the reference."""
    if ours.shape != theirs.shape:
        return float("inf")
    return float((ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-30))


def verdict(failed: int, total: int) -> None:
    """The last line, and the exit code."""
    print(f"{total - failed} of {total} agree" if failed else f"all {total} agree")
    sys.exit(1 if failed else 0)
