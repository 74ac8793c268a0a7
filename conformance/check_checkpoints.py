"""Judges how checkpoints are read: files made here by torch, timm and transformers, random weights.

    python conformance/check_checkpoints.py [NAME_PART]

Outputs must agree with those of the library that made the file to 1e-4 of the largest one: state dicts in every form
and wrapper, half precision, shards; checkpoints in models of another size against timm; folders of transformers.
Where transformers is not installed, its part is skipped and said to be.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy
from safetensors.torch import save_file

from judge import node, relative, timm, torch, verdict

TOLERANCE = 1e-4
try:
    import checkpoints_transformers
except ImportError as error:
    checkpoints_transformers, MISSING = None, error

VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 5}


def randomized(model, generator):
    """Everything drawn anew, so that a zero or a tiny scale hides nothing."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim <= 1:
                scale = "norm" in name.lower() and name.endswith("weight") or "gamma" in name or "lambda" in name
                parameter.copy_((1.0 if scale else 0.0) + 0.2 * noise)
            elif "token" in name or "pos" in name or "probe" in name or "latent" in name:
                parameter.copy_(0.5 * noise)
            else:
                parameter.copy_(noise * parameter[0].numel() ** -0.5)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(0.2 * torch.randn(buffer.shape, generator=generator))
            elif name.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    return model.eval()


class Case:
    """A model to be loaded, images, and what its library makes of them."""

    def __init__(self, label, model, pixels, expected, arch=None, input_size=None, check=None):
        self.label, self.model, self.pixels, self.expected = label, model, pixels, expected
        self.arch, self.input_size, self.check = arch, input_size, check


def vit(generator, **args):
    return randomized(timm.create_model("deit_tiny_patch16_224", **{**VIT, **args}), generator)


def forms(root, generator):
    """State dicts as people save them. All are one model's, whose width the name alone does not give."""
    model = randomized(timm.create_model("test_vit", num_classes=5), generator)
    state = model.state_dict()
    pixels = torch.randn(2, 3, 160, 160, generator=generator)
    expected = model(pixels)
    written = {}

    def saved(name, value, **options):
        written[name] = root / name
        torch.save(value, written[name], **options)

    prefixed = lambda prefix: {f"{prefix}{name}": tensor for name, tensor in state.items()}
    saved("zip.pth", state)
    saved("legacy.pth", state, _use_new_zipfile_serialization=False)
    saved("protocol4.pt", dict(state), pickle_protocol=4)
    saved("model.pth", {"model": state, "epoch": 3, "args": {"lr": 0.1}})
    saved("namespace.ckpt", {"state_dict": prefixed("model."), "hyper_parameters": __import__("argparse").Namespace(a=1)})
    other = {name: tensor * 0 for name, tensor in state.items()}
    saved("ema.pth.tar", {"state_dict": other, "state_dict_ema": prefixed("module."), "optimizer": {"state": {}}})
    saved("compiled.bin", prefixed("_orig_mod.module."))
    saved("backbone.pth", {**prefixed("backbone."), "decode_head.weight": torch.zeros(3)})
    saved("parameters.pth", dict(model.named_parameters()))
    stored = {name: tensor.t().contiguous().t() if tensor.ndim == 2 else tensor for name, tensor in state.items()}
    saved("transposed.pth", stored)
    saved("transposed-legacy.pth", stored, _use_new_zipfile_serialization=False)
    saved("float64.pth", {name: tensor.double() for name, tensor in state.items()})
    cases = [Case(name, path, pixels, expected, arch="test_vit") for name, path in written.items()]
    for dtype in (torch.float16, torch.bfloat16):
        half = {name: tensor.to(dtype) for name, tensor in state.items()}
        name = str(dtype).removeprefix("torch.")
        torch.save(half, root / f"{name}.pth")
        save_file(half, root / f"{name}.safetensors")
        narrowed = timm.create_model("test_vit", num_classes=5).eval()
        narrowed.load_state_dict({name: tensor.float() for name, tensor in half.items()})
        for ending in (".pth", ".safetensors"):
            path = root / f"{name}{ending}"
            said = lambda answer, name=name: any(f"{name} became float32" in note for note in answer["notes"])
            cases.append(Case(path.name, path, pixels, narrowed(pixels), arch="test_vit", check=said))
    for ending, write in ((".safetensors", save_file), (".bin", torch.save)):
        stem = "model" if ending == ".safetensors" else "pytorch_model"
        folder = root / f"sharded{ending}"
        folder.mkdir()
        names = sorted(state)
        parts = [names[0::2], names[1::2]]
        weight_map = {}
        for number, part in enumerate(parts):
            file = f"{stem}-0000{number + 1}-of-00002{ending}"
            write({name: state[name] for name in part}, folder / file)
            weight_map.update({name: file for name in part})
        index = {"metadata": {}, "weight_map": weight_map}
        (folder / f"{stem}{ending}.index.json").write_text(json.dumps(index))
        config = {"architecture": "test_vit", "num_classes": 5, "pretrained_cfg": {"input_size": [3, 160, 160]}}
        (folder / "config.json").write_text(json.dumps(config))
        cases.append(Case(folder.name, folder, pixels, expected))
    return cases


RESIZED = [
    ("vit_tiny_patch16_224", {"depth": 2}, (160, 128)),
    ("deit_tiny_distilled_patch16_224", {"depth": 2}, (256, 320)),
    ("vit_small_patch16_224", {"depth": 1, "no_embed_class": True, "reg_tokens": 2}, (96, 288)),
    ("beit_base_patch16_224", {"depth": 1, "embed_dim": 48, "num_heads": 3}, (160, 128)),
    ("beit_base_patch16_224", {"depth": 1, "embed_dim": 48, "num_heads": 3}, (384, 256)),
    ("eva02_tiny_patch14_224", {"depth": 1}, (140, 168)),
    ("vitamin_small_224", {"depth": 1}, (96, 160)),
    ("mvitv2_tiny", {}, (96, 96)),
]


def timms(name, file, **args):
    """timm's model of a checkpoint, which goes through its filters as a pretrained one does."""
    overlay = {"file": str(file), "num_classes": args["num_classes"], "custom_load": False}
    return timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **args).eval()


def resized(root, generator):
    """A checkpoint in a model for images of another size."""
    cases = []
    for number, (name, args, size) in enumerate(RESIZED):
        model = randomized(timm.create_model(name, num_classes=3, **args), generator)
        folder = root / f"resized{number}"
        folder.mkdir()
        state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
        save_file(state, folder / "model.safetensors")
        config = {
            "architecture": name,
            "num_classes": 3,
            "model_args": args,
            "pretrained_cfg": {"input_size": list(model.pretrained_cfg["input_size"])},
        }
        (folder / "config.json").write_text(json.dumps(config))
        other = timms(name, folder / "model.safetensors", num_classes=3, img_size=size, **args)
        pixels = torch.randn(1, 3, *size, generator=generator)
        said = lambda answer: any("positions resampled" in note for note in answer["notes"])
        label = f"{name} at {size[0]}x{size[1]}"
        cases.append(Case(label, folder, pixels, other(pixels), input_size=[3, *size], check=said))
    swin = {"embed_dim": 24, "depths": (2, 2), "num_heads": (2, 4), "num_classes": 3}
    model = randomized(timm.create_model("swin_tiny_patch4_window7_224", img_size=56, **swin), generator)
    sized = {"img_size": (96, 64), "window_size": (6, 4)}
    folder = root / "swin"
    folder.mkdir()
    save_file({key: tensor.clone() for key, tensor in model.state_dict().items()}, folder / "model.safetensors")
    config = {"architecture": "swin_tiny_patch4_window7_224", "num_classes": 3, "model_args": {**swin, **sized}}
    config["model_args"].pop("num_classes")
    (folder / "config.json").write_text(json.dumps(config))
    other = timms("swin_tiny_patch4_window7_224", folder / "model.safetensors", **sized, **swin)
    pixels = torch.randn(1, 3, 96, 64, generator=generator)
    cases.append(Case("swin, windows 7x7 to 6x4", folder, pixels, other(pixels)))
    return cases


def judged(cases, root):
    requests = []
    for number, case in enumerate(cases):
        case.pixels.numpy().tofile(root / f"{number}.in")
        requests.append(
            {
                "model": str(case.model),
                "arch": case.arch,
                "inputSize": case.input_size,
                "input": str(root / f"{number}.in"),
                "shape": list(case.pixels.shape),
                "output": str(root / f"{number}.out"),
            }
        )
    failed = 0
    for number, (case, answer) in enumerate(zip(cases, node("checkpoints.mjs", requests))):
        if "error" in answer:
            error, note = float("inf"), answer["error"]
        else:
            found = numpy.fromfile(root / f"{number}.out", dtype=numpy.float32)
            error = relative(torch.from_numpy(found).reshape(answer["shape"]), case.expected)
            note = "; ".join(answer["notes"]).replace(str(root), "")
            if case.check and not case.check(answer):
                error, note = float("inf"), f"what it says is wrong: {answer['notes']} {answer['info']}"
        bad = not error <= TOLERANCE
        failed += bad
        print(f"{case.label:46} {error:9.1e} {'FAIL' if bad else ''} {note[:150]}", flush=True)
    return failed


def main():
    part = sys.argv[1] if len(sys.argv) > 1 else ""
    generator = torch.Generator().manual_seed(1)
    with tempfile.TemporaryDirectory() as temporary, torch.inference_mode():
        root = Path(temporary)
        cases = forms(root, generator) + resized(root, generator)
        if checkpoints_transformers:
            cases += checkpoints_transformers.cases(root, generator, randomized, Case)
        else:
            print(f"folders of transformers: SKIPPED, it is not installed here ({MISSING})")
        cases = [case for case in cases if part in case.label]
        failed = judged(cases, root)
    verdict(failed, len(cases))


main()
