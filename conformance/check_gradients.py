"""Gradients of every parameter, and a short AdamW run, against PyTorch.

For each model of timm with random weights: the gradient of the cross-entropy with soft targets with
respect to every parameter (1e-3 relative to the largest), then five AdamW steps with clipping and with
timm's exclusions from weight decay: losses, gradient norms and the way each parameter went.
"""

import tempfile
from pathlib import Path

from judge import node, timm, torch, verdict
from safetensors.torch import load_file

BATCH, STEPS, LR, DECAY = 4, 5, 1e-3, 0.05
GRADIENT_TOLERANCE, STEP_TOLERANCE, PATH_TOLERANCE = 1e-3, 1e-3, 1e-2

MODELS = [
    ("deit_tiny_patch16_224", {}, 1.0),
    ("deit_tiny_patch16_224", {}, 0.0),
    ("vit_tiny_patch16_224", dict(img_size=32, patch_size=8, global_pool="avg", init_values=0.5), 1.0),
    ("vit_tiny_patch16_224", dict(img_size=32, patch_size=8, qk_norm=True, reg_tokens=2), 1.0),
    ("vit_tiny_patch16_224", dict(img_size=32, patch_size=8, global_pool="map", class_token=False), 1.0),
    ("deit_tiny_distilled_patch16_224", {}, 1.0),
    ("vit_base_patch32_clip_quickgelu_224", dict(img_size=64, embed_dim=96, depth=2, num_heads=3), 1.0),
]


def write_folder(folder: Path, name: str, args: dict, model: torch.nn.Module) -> None:
    import json

    from safetensors.torch import save_file

    config = {"architecture": name, "num_classes": model.num_classes, "model_args": args}
    config["pretrained_cfg"] = {"input_size": [3, *model.patch_embed.img_size], "num_classes": model.num_classes}
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, str(folder / "model.safetensors"))


def loss_of(model, pixels, targets):
    # In training mode timm's distilled models give both heads; what is exported is their mean.
    outputs = model(pixels)
    if isinstance(outputs, tuple):
        outputs = (outputs[0] + outputs[1]) / 2
    return torch.nn.functional.cross_entropy(outputs, targets)


def decays(name: str, parameter: torch.Tensor, model) -> bool:
    skip = model.no_weight_decay()
    return parameter.ndim > 1 and not name.endswith(".bias") and name not in skip


def trained(model, pixels, targets, clip):
    named = list(model.named_parameters())
    groups = [
        {"params": [p for n, p in named if decays(n, p, model)], "weight_decay": DECAY},
        {"params": [p for n, p in named if not decays(n, p, model)], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=LR)
    losses, norms = [], []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = loss_of(model, pixels, targets)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip if clip > 0 else float("inf"))
        optimizer.step()
        losses.append(loss.item())
        norms.append(norm.item())
    return losses, norms


def check(name: str, args: dict, clip: float, place: Path) -> bool:
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=20, **args).eval()
    with torch.no_grad():
        # Weights that make every path count: norms away from one, biases and tokens away from zero.
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    size = model.patch_embed.img_size
    pixels = torch.randn(BATCH, 3, *size)
    targets = torch.softmax(3 * torch.randn(BATCH, model.num_classes), dim=-1)
    folder = place / "model"
    write_folder(folder, name, args, model)
    pixels.numpy().tofile(place / "pixels")
    targets.numpy().tofile(place / "targets")
    files = {key: str(place / key) for key in ("pixels", "targets", "gradients", "trained")}
    answer = node(
        "gradients.mjs",
        dict(folder=str(folder), batch=BATCH, steps=STEPS, lr=LR, weightDecay=DECAY, clipNorm=clip, **files),
    )
    ours, after = load_file(files["gradients"]), load_file(files["trained"])

    loss_of(model, pixels, targets).backward()
    reference = {key: p.grad for key, p in model.named_parameters()}
    before = {key: p.detach().clone() for key, p in model.named_parameters()}
    # A key bias shifts all scores of a query alike, so its gradient is zero but for rounding: such
    # parameters are compared on the scale of the largest gradient of all.
    largest = max(float(g.abs().max()) for g in reference.values())
    errors = {}
    for key, gradient in reference.items():
        scale = max(float(gradient.abs().max()), 1e-4 * largest)
        errors[key] = float((ours[key] - gradient).abs().max()) / scale if key in ours else float("inf")
    worst = max(errors, key=errors.get)

    losses, norms = trained(model, pixels, targets, clip)
    loss_error = max(abs(a - b) / abs(b) for a, b in zip(answer["losses"], losses))
    norm_error = max(abs(a - b) / abs(b) for a, b in zip(answer["gradNorms"], norms))
    moved = torch.cat([(p.detach() - before[key]).flatten() for key, p in model.named_parameters()])
    went = torch.cat([(after[key] - before[key]).flatten() for key in before])
    path_error = float((went - moved).norm() / moved.norm())
    good = (
        errors[worst] < GRADIENT_TOLERANCE
        and set(ours) == set(reference)
        and loss_error < STEP_TOLERANCE
        and norm_error < STEP_TOLERANCE
        and path_error < PATH_TOLERANCE
    )
    label = f"{name} {' '.join(f'{k}={v}' for k, v in args.items())} clip={clip:g}"
    print(
        f"{'ok  ' if good else 'FAIL'} {label}: {len(ours)} gradients {errors[worst]:.1e} ({worst}), "
        f"{STEPS} steps: loss {loss_error:.1e}, norm {norm_error:.1e}, way {path_error:.1e}"
    )
    return good


failed = 0
for case in MODELS:
    with tempfile.TemporaryDirectory() as temporary:
        failed += not check(*case, Path(temporary))
verdict(failed, len(MODELS))
