"""Judges pruning against Torch-Pruning, PyTorch and timm.

    TORCH_PRUNING=checkout python conformance/check_prune.py [--write-golden]

On a DeiT-Tiny with randomized weights and random images:
- the channels that L1, L2, Taylor and (from one image) Hessian remove are those that Torch-Pruning removes,
  for the embedding, every MLP and every head dimension (tied);
- the mean squared gradients of 8 images are those of 8 backward passes in PyTorch, to 1e-3 of the largest;
- timm loads what was written, and computes what our engine computes, to 1e-4 of the largest output.

TORCH_PRUNING is a checkout of VainF/Torch-Pruning, which is on no package index; without it the first part
is left out, and said to be. --write-golden renews the small case that the unit tests compare with instead.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import numpy
from safetensors.torch import load_file, save_file

from judge import ROOT, node, relative, timm, torch, verdict

ARCHITECTURE = "deit_tiny_patch16_224"
SIZES = {"img_size": 64, "depth": 12, "num_classes": 10}
RATIO = 0.09375
GOLDEN = ROOT / "src/prune/golden"
GOLDEN_SIZES = {
    "img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 3, "mlp_ratio": 2, "num_classes": 5,
}


def report(label, error, tolerance, note=""):
    bad = not error <= tolerance
    print(f"{label:52} {error:9.1e} {'FAIL' if bad else ''} {note}", flush=True)
    return int(bad)


def random_model(sizes, generator):
    """A model whose every parameter is random."""
    model = timm.create_model(ARCHITECTURE, **sizes).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + 0.2 * noise if parameter.ndim == 1 else noise * parameter[0].numel() ** -0.5)
    return model


def dense_folder(folder, generator):
    """A random model in timm's layout."""
    model = random_model(SIZES, generator)
    folder.mkdir()
    save_file(model.state_dict(), folder / "model.safetensors")
    size = SIZES["img_size"]
    config = {
        "architecture": ARCHITECTURE,
        "num_classes": SIZES["num_classes"],
        "model_args": {key: SIZES[key] for key in ("img_size", "depth")},
        "pretrained_cfg": {**model.pretrained_cfg, "input_size": [3, size, size], "num_classes": SIZES["num_classes"]},
    }
    (folder / "config.json").write_text(json.dumps(config))
    return model


def plain_attention(self, x, *_args, **_kwargs):
    """timm's attention step by step, so that tracing sees each operation."""
    batch, tokens, _ = x.shape
    parts = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
    q, k, v = parts.unbind(0)
    weights = (q * self.scale @ k.transpose(-2, -1)).softmax(dim=-1)
    return self.proj((weights @ v).transpose(1, 2).reshape(batch, tokens, -1))


def torch_pruning_removes(tp, model, importance, pixels, labels, ratio=RATIO, batch_size=4):
    """Module name -> output indices that Torch-Pruning takes out."""
    makers = {
        "l1": lambda: tp.importance.GroupMagnitudeImportance(p=1),
        "l2": lambda: tp.importance.GroupMagnitudeImportance(p=2),
        "taylor": tp.importance.GroupTaylorImportance,
        "hessian": tp.importance.GroupHessianImportance,
    }
    scorer = makers[importance]()
    heads = {}
    for module in model.modules():
        if isinstance(module, timm.layers.Attention):
            module.forward = plain_attention.__get__(module)
            heads[module.qkv] = module.num_heads
    pruner = tp.pruner.BasePruner(
        model,
        pixels[:1],
        importance=scorer,
        pruning_ratio=ratio,
        ignored_layers=[model.head],
        num_heads=heads,
        prune_head_dims=True,
    )
    model.zero_grad()
    if importance == "taylor":
        for start in range(0, len(labels), batch_size):
            outputs = model(pixels[start : start + batch_size])
            torch.nn.functional.cross_entropy(outputs, labels[start : start + batch_size]).backward()
    elif importance == "hessian":
        torch.nn.functional.cross_entropy(model(pixels[:1]), labels[:1]).backward()
        scorer.accumulate_grad(model)
    names = {module: name for name, module in model.named_modules()}
    gone = {}
    for group in pruner.step(interactive=True):
        for dependency, indices in group:
            name = names.get(dependency.target.module)
            if name and pruner.DG.is_out_channel_pruning_fn(dependency.handler):
                gone.setdefault(name, set()).update(indices)
    return {name: sorted(indices) for name, indices in gone.items()}


def removed_by_ours(kept, shapes, name):
    weight = f"{name}.weight"
    return sorted(set(range(shapes[weight][0])) - set(kept.get(weight, {}).get("0", range(shapes[weight][0]))))


def squared_gradients(model, pixels, labels):
    sums = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    for pixel, label in zip(pixels, labels):
        model.zero_grad()
        torch.nn.functional.cross_entropy(model(pixel[None]), label[None]).backward()
        for name, parameter in model.named_parameters():
            sums[name] += parameter.grad**2
    return {name: total / len(labels) for name, total in sums.items()}


def layers_compared(depth):
    yield "patch_embed.proj"
    for block in range(depth):
        yield f"blocks.{block}.mlp.fc1"
        yield f"blocks.{block}.attn.qkv"


def torch_pruning():
    checkout = os.environ.get("TORCH_PRUNING")
    if not checkout:
        print("TORCH_PRUNING is not set: the comparison with Torch-Pruning is left out")
        return None
    sys.path.insert(0, checkout)
    import torch_pruning

    return torch_pruning


def write_golden(tp):
    """Weights, images and what Torch-Pruning removes at a quarter, small enough to commit."""
    generator = torch.Generator().manual_seed(1)
    state = random_model(GOLDEN_SIZES, generator).state_dict()
    pixels = torch.randn((4, 3, 16, 16), generator=generator)
    labels = torch.randint(0, 5, (4,), generator=generator)
    removed = {}
    for importance in ("l1", "l2", "taylor", "hessian"):
        model = timm.create_model(ARCHITECTURE, **GOLDEN_SIZES).eval()
        model.load_state_dict(state)
        gone = torch_pruning_removes(tp, model, importance, pixels, labels, 0.25, 2)
        removed[importance] = {name: gone[name] for name in layers_compared(1)}
    GOLDEN.mkdir(exist_ok=True)
    save_file({**state, "pixels": pixels}, GOLDEN / "vit.safetensors")
    facts = {"args": GOLDEN_SIZES, "labels": labels.tolist(), "ratio": 0.25, "removed": removed}
    (GOLDEN / "torch-pruning.json").write_text(json.dumps(facts) + "\n")


def ask(folder, root, pixels, labels, batch_size, cases):
    images = root / "images.bin"
    pixels.numpy().tofile(images)
    requests = [
        {"options": options, "output": str(root / f"{folder.name}-pruned{i}"), "logits": str(root / f"{i}.out")}
        for i, options in enumerate(cases)
    ]
    squares = root / "squares.safetensors"
    answers = node(
        "prune.mjs",
        {
            "folder": str(folder),
            "images": str(images),
            "shape": list(pixels.shape),
            "labels": labels.tolist(),
            "batchSize": batch_size,
            "sensitivities": str(squares),
            "cases": requests,
        },
    )
    return requests, answers, load_file(squares)


def main():
    tp = torch_pruning()
    if "--write-golden" in sys.argv:
        return write_golden(tp)
    failed = total = 0
    generator = torch.Generator().manual_seed(0)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        folder = root / "dense"
        model = dense_folder(folder, generator)
        shapes = {name: list(p.shape) for name, p in model.named_parameters()}
        pixels = torch.randn((8, 3, SIZES["img_size"], SIZES["img_size"]), generator=generator)
        labels = torch.randint(0, SIZES["num_classes"], (8,), generator=generator)

        cases = [{"importance": i, "ratio": RATIO, "headDims": "tied"} for i in ("l1", "l2", "taylor")]
        cases.append({"importance": "hessian", "ratio": 0.25, "headDims": "free"})
        requests, answers, squares = ask(folder, root, pixels, labels, 4, cases)

        expected = squared_gradients(model, pixels, labels)
        worst = max(relative(ours, expected[name]) for name, ours in squares.items())
        total += 1
        failed += report(f"squared gradients of 8 images, {len(squares)} tensors", worst, 1e-3)

        for options, request, answer in zip(cases, requests, answers):
            label = f"{options['importance']} {options['ratio']} {options['headDims']}"
            loaded = timm.create_model(f"local-dir:{request['output']}", pretrained=True).eval()
            ours = torch.from_numpy(numpy.fromfile(request["logits"], dtype=numpy.float32))[None]
            total += 1
            failed += report(f"{label}: timm's output of the pruned model", relative(ours, loaded(pixels[:1]).detach()), 1e-4)

        if tp:
            one = [{"importance": "hessian", "ratio": RATIO, "headDims": "tied"}]
            _, single, _ = ask(folder, root, pixels[:1], labels[:1], 1, one)
            for options, answer in zip([*cases[:3], *one], [*answers[:3], *single]):
                fresh = timm.create_model(ARCHITECTURE, **SIZES).eval()
                fresh.load_state_dict(load_file(folder / "model.safetensors"))
                theirs = torch_pruning_removes(tp, fresh, options["importance"], pixels, labels)
                different = compared = 0
                for name in layers_compared(SIZES["depth"]):
                    ours = removed_by_ours(answer["kept"], shapes, name)
                    compared += len(theirs[name])
                    different += len(set(ours) ^ set(theirs[name]))
                total += 1
                failed += report(
                    f"{options['importance']}: removed indices unlike Torch-Pruning's", different, 0, f"of {compared}"
                )
    verdict(failed, total)


if __name__ == "__main__":
    main()
