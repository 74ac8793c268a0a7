"""Judges pruning against Torch-Pruning, PyTorch and timm.

    TORCH_PRUNING=checkout python conformance/check_prune.py [ARCHITECTURE...|--write-golden]

- On a DeiT-Tiny with randomized weights and random images: the mean squared gradients of 8 images are those of 8
  backward passes in PyTorch, to 1e-3 of the largest; timm loads what was written, and computes what our engine
  computes, to 1e-4 of the largest output.
- On a DeiT-Tiny, a DeiT-Small, a DINOv2 with registers and a Swin-Tiny of noise: the channels go that Torch-Pruning
  takes, by L1, L2, LAMP (not of head dimensions), Taylor and (from one image) Hessian, uniform, global and isomorphic, of the embedding, every
  MLP and every head dimension (tied), and as whole heads, at three ratios.

TORCH_PRUNING is a checkout of VainF/Torch-Pruning, which is on no package index; without it the second part
is left out, and said to be. --write-golden renews the small cases that the unit tests compare with.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy
from safetensors.torch import load_file, save_file

from judge import ROOT, node, relative, timm, torch, verdict
from pruning_reference import (
    CASES, LABELS, Reference, case_name, golden, layers_compared, noise, noisy_model, torch_pruning,
)

ARCHITECTURE = "deit_tiny_patch16_224"
SIZES = {"img_size": 64, "depth": 12, "num_classes": 10}
RATIO = 0.09375
GOLDEN = ROOT / "src/prune/golden/torch-pruning.json"

# At their own widths and depths; images are no larger than they must be.
WHOLE = {
    "deit_tiny_patch16_224": {"img_size": 64},
    "deit_small_patch16_224": {"img_size": 64},
    "vit_small_patch14_reg4_dinov2": {"img_size": 56},
    "swin_tiny_patch4_window7_224": {"img_size": 224},
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


def write_folder(folder, model, architecture, args):
    """A model in timm's layout."""
    folder.mkdir()
    save_file(model.state_dict(), folder / "model.safetensors")
    size = args["img_size"]
    config = {
        "architecture": architecture,
        "num_classes": SIZES["num_classes"],
        "model_args": args,
        "pretrained_cfg": {**model.pretrained_cfg, "input_size": [3, size, size], "num_classes": SIZES["num_classes"]},
    }
    (folder / "config.json").write_text(json.dumps(config))


def dense_folder(folder, generator):
    model = random_model(SIZES, generator)
    write_folder(folder, model, ARCHITECTURE, {key: SIZES[key] for key in ("img_size", "depth")})
    return model


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


def ask(folder, root, pixels, labels, batch_size, cases, **more):
    images = root / "images.bin"
    pixels.numpy().tofile(images)
    request = {"folder": str(folder), "images": str(images), "shape": list(pixels.shape), "labels": labels.tolist()}
    return node("prune.mjs", {**request, "batchSize": batch_size, "cases": cases, **more})


def ask_kept(folder, root, pixels, labels, batch_size, options):
    return ask(folder, root, pixels, labels, batch_size, [{"options": one} for one in options])


def are_tied(record, indices):
    """Whether the scores of these outputs of layers are the same but for what float32 leaves of their sums."""
    values = []
    for group in record["groups"]:
        first = group["tensors"][0]
        name = first["name"].removesuffix(".weight")
        if first["axis"] == 0 and name in indices and group["kind"] != "heads":
            values += [group["scores"][group["channels"][index]] for index in indices[name]]
    return bool(values) and max(values) - min(values) <= 1e-6 * max(values)


def parity(tp, architecture, args):
    """Whether the channels go that Torch-Pruning takes: how many cases differ, and of how many."""
    size = args["img_size"]
    pixels = torch.from_numpy(noise("pixels", [len(LABELS), 3, size, size]).astype(numpy.float32))
    labels = torch.tensor(LABELS)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        folder = root / "dense"
        model = noisy_model(architecture, **args, num_classes=SIZES["num_classes"])
        write_folder(folder, model, architecture, args)
        shapes = {name: list(p.shape) for name, p in model.named_parameters()}
        kept, scores = {}, {}
        for hessian in (False, True):  # Torch-Pruning keeps the last sample only, so the Hessian is compared on one
            cases = [case for case in CASES if (case["importance"] == "hessian") == hessian]
            count, batch_size = (1, 1) if hessian else (len(LABELS), 2)
            options = [{**case, "headDims": "tied", "check": False} for case in cases]
            answers = ask_kept(folder, root, pixels[:count], labels[:count], batch_size, options)
            kept.update({case_name(case): answer["kept"] for case, answer in zip(cases, answers)})
            scores.update({c["importance"]: a["scores"] for c, a in zip(cases, answers) if "scores" in a})
        reference = Reference(tp, model, pixels, labels)
        failed = 0
        for case in CASES:
            theirs = reference.removed(case)
            compared, different = 0, {}
            for name in layers_compared(model, case):
                ours = removed_by_ours(kept[case_name(case)], shapes, name)
                compared += len(theirs.get(name, []))
                different[name] = set(ours) ^ set(theirs.get(name, []))
            count = sum(map(len, different.values()))
            tied = count > 0 and are_tied(scores[case["importance"]], different)
            note = f"of {compared}" + (f", and {count} whose scores are equal to 1e-6" if tied else "")
            failed += report(f"{architecture[:21]} {case_name(case)}: indices unlike", 0 if tied else count, 0, note)
        return failed, len(CASES)


def sensitivities_and_timm():
    """Squared gradients against PyTorch, pruned models against timm: how many comparisons failed, and of how many."""
    failed = total = 0
    generator = torch.Generator().manual_seed(0)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        folder = root / "dense"
        model = dense_folder(folder, generator)
        pixels = torch.randn((8, 3, SIZES["img_size"], SIZES["img_size"]), generator=generator)
        labels = torch.randint(0, SIZES["num_classes"], (8,), generator=generator)

        cases = [{"importance": i, "ratio": RATIO, "headDims": "tied"} for i in ("l1", "l2", "taylor")]
        cases.append({"importance": "hessian", "ratio": 0.25, "headDims": "free"})
        requests = [
            {"options": options, "output": str(root / f"pruned{i}"), "logits": str(root / f"{i}.out")}
            for i, options in enumerate(cases)
        ]
        ask(folder, root, pixels, labels, 4, requests, sensitivities=str(root / "squares.safetensors"))
        squares = load_file(root / "squares.safetensors")

        expected = squared_gradients(model, pixels, labels)
        worst = max(relative(ours, expected[name]) for name, ours in squares.items())
        total += 1
        failed += report(f"squared gradients of 8 images, {len(squares)} tensors", worst, 1e-3)

        for options, request in zip(cases, requests):
            label = f"{options['importance']} {options['ratio']} {options['headDims']}"
            loaded = timm.create_model(f"local-dir:{request['output']}", pretrained=True).eval()
            ours = torch.from_numpy(numpy.fromfile(request["logits"], dtype=numpy.float32))[None]
            total += 1
            failed += report(f"{label}: timm's output of the pruned model", relative(ours, loaded(pixels[:1]).detach()), 1e-4)

    return failed, total


def main():
    tp = torch_pruning()
    if "--write-golden" in sys.argv:
        return GOLDEN.write_text(json.dumps(golden(tp), separators=(",", ":")) + "\n")
    chosen = sys.argv[1:]
    failed, total = (0, 0) if chosen else sensitivities_and_timm()
    if tp:
        for architecture, args in WHOLE.items():
            if not chosen or architecture in chosen:
                more_failed, more = parity(tp, architecture, args)
                failed += more_failed
                total += more
    verdict(failed, total)


if __name__ == "__main__":
    main()
