"""Judges the architectures against timm: random weights and inputs, both ways.

    python conformance/check_zoo.py [NAME_PART]

First timm makes each model and our engine runs the folder; then we make each model and timm runs
the folder. Outputs must agree to 1e-4 of the largest one. What we write must satisfy onnx.checker.
Larger architectures are made narrow and shallow, for small images, by their arguments, which tests those too.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy
import onnx
from safetensors.torch import save_file

from judge import node, relative, timm, torch, verdict

TOLERANCE = 1e-4
SMALL = {"depth": 2, "img_size": 64, "embed_dim": 192, "num_heads": 6}
SMALL14 = {**SMALL, "img_size": 70}
CASES = [
    ("vit_tiny_patch16_224", {}),
    ("deit_tiny_patch16_224", {}),
    ("deit_tiny_distilled_patch16_224", {}),
    ("deit_base_distilled_patch16_384", SMALL),
    ("deit3_small_patch16_224", SMALL),
    ("deit3_huge_patch14_224", SMALL14),
    ("vit_base_patch8_224", {**SMALL, "img_size": 32}),
    ("vit_base_patch16_224_miil", SMALL),
    ("vit_base_patch32_clip_224", SMALL),
    ("vit_base_patch16_clip_quickgelu_224", SMALL),
    ("vit_base_patch32_siglip_256", SMALL),
    ("vit_base_patch16_siglip_gap_224", SMALL),
    ("vit_so400m_patch14_siglip_224", SMALL14),
    ("vit_small_patch14_dinov2", SMALL14),
    ("vit_small_patch14_reg4_dinov2", SMALL14),
    ("vit_giant_patch14_dinov2", SMALL14),
    ("vit_base_patch16_rpn_224", SMALL),
    ("vit_base_patch16_18x2_224", SMALL),
    ("vit_base_patch16_xp_224", SMALL),
    ("vit_dlittle_patch16_reg1_gap_256", SMALL),
    ("vit_dpwee_patch16_reg1_gap_256", SMALL),
    ("vit_wee_patch16_reg1_gap_256", SMALL),
    ("vit_little_patch16_reg4_gap_256", SMALL),
    ("vit_medium_patch16_gap_240", SMALL),
    ("vit_betwixt_patch16_reg4_gap_256", SMALL),
    ("vit_base_patch16_plus_240", SMALL),
    ("vit_xsmall_patch16_clip_224", SMALL),
    ("vit_intern300m_patch14_448", SMALL14),
    ("vit_base_patch14_reg1_tipsv2", SMALL14),
    ("vit_so150m_patch16_reg4_map_256", SMALL),
    ("flexivit_small", SMALL),
    ("aimv2_large_patch14_224", SMALL14),
    ("beit3_base_patch16_224", SMALL),
    ("test_vit", {}),
    ("test_vit2", {}),
    ("test_vit3", {}),
    ("test_vit4", {}),
    ("vit_small_patch16_224", {**SMALL, "num_classes": 0}),
    ("vit_small_patch16_224", {**SMALL, "num_classes": 7, "in_chans": 1, "global_pool": "avgmax"}),
    ("vit_small_patch16_224", {**SMALL, "global_pool": "max", "reg_tokens": 3, "init_values": 0.5}),
    ("vit_small_patch16_224", {**SMALL, "global_pool": "", "num_classes": 0, "pos_embed": "none"}),
    ("vit_small_patch16_224", {**SMALL, "global_pool": "prr", "class_token": False}),
    ("vit_small_patch16_224", {**SMALL, "global_pool": "prr"}),
    ("vit_small_patch16_224", {**SMALL, "img_size": [48, 80], "patch_size": [16, 8], "act_layer": "hard_swish"}),
    ("vit_small_patch16_224", {**SMALL, "qk_norm": True, "scale_attn_norm": True, "qkv_bias": False, "act_layer": "mish"}),
    ("vit_small_patch16_224", {**SMALL, "qk_norm": True, "attn_layer": "diff", "norm_layer": "rmsnorm"}),
    ("vit_small_patch16_224", {**SMALL, "class_token": False, "global_pool": "avg", "fc_norm": False, "final_norm": False}),
]


def randomized(model, generator):
    """Every parameter drawn anew, so that nothing is hidden by a zero, a one or a tiny layer scale."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim <= 1:
                around = 1.0 if name.endswith(("norm.weight", "norm1.weight", "norm2.weight", "gamma")) else 0.0
                parameter.copy_(around + 0.2 * noise)
            elif name.endswith(("_token", "pos_embed", "latent")):
                parameter.copy_(0.5 * noise)
            else:
                parameter.copy_(noise * parameter[0].numel() ** -0.5)
    return model.eval()


def timm_folder(name, args, folder, generator):
    model = randomized(timm.create_model(name, **args), generator)
    folder.mkdir()
    save_file(model.state_dict(), folder / "model.safetensors")
    config = {
        "architecture": name,
        "num_classes": model.num_classes,
        "model_args": {key: value for key, value in args.items() if key != "num_classes"},
        "pretrained_cfg": {
            key: model.pretrained_cfg[key]
            for key in ("input_size", "mean", "std", "interpolation", "crop_pct", "num_classes", "fixed_input_size")
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    return model


def request_for(model, folder, generator, batch):
    size = model.patch_embed.img_size
    pixels = torch.randn((batch, model.patch_embed.proj.in_channels, *size), generator=generator)
    pixels.numpy().tofile(folder.with_suffix(".in"))
    return pixels, {
        "folder": str(folder),
        "input": str(folder.with_suffix(".in")),
        "shape": list(pixels.shape),
        "output": str(folder.with_suffix(".out")),
    }


def output_of(asked, answer):
    return torch.from_numpy(numpy.fromfile(asked["output"], dtype=numpy.float32)).reshape(answer["shape"])


def report(label, name, args, error, note=""):
    bad = not error <= TOLERANCE
    print(f"{label:10} {name:38} {error:9.1e} {'FAIL' if bad else ''} {json.dumps(args) if args else ''} {note}", flush=True)
    return int(bad)


def timm_to_ours(cases, root, generator):
    asked, theirs, counts = [], [], []
    for index, (name, args) in enumerate(cases):
        folder = root / f"timm{index}"
        model = timm_folder(name, args, folder, generator)
        pixels, request = request_for(model, folder, generator, 2)
        asked.append(request)
        theirs.append(model(pixels))
        counts.append(sum(parameter.numel() for parameter in model.parameters()))
    failed = 0
    for index, answer in enumerate(node("zoo.mjs", asked)):
        name, args = cases[index]
        if "error" in answer:
            failed += report("timm->pqv", name, args, float("inf"), answer["error"])
        elif answer["description"]["parameters"] != counts[index]:
            failed += report("timm->pqv", name, args, float("inf"), "parameter counts differ")
        else:
            failed += report("timm->pqv", name, args, relative(output_of(asked[index], answer), theirs[index]))
    return failed


def ours_to_timm(cases, root, generator):
    asked, images = [], []
    for index, (name, args) in enumerate(cases):
        folder = root / f"pqv{index}"
        pixels, request = request_for(timm.create_model(name, **args), folder, generator, 1)
        asked.append({**request, "init": {"architecture": name, "modelArgs": args}, "seed": index})
        images.append(pixels)
    failed = 0
    for index, answer in enumerate(node("zoo.mjs", asked)):
        name, args = cases[index]
        if "error" in answer:
            failed += report("pqv->timm", name, args, float("inf"), answer["error"])
            continue
        folder = asked[index]["folder"]
        onnx.checker.check_model(f"{folder}/model.onnx", full_check=True)
        loaded = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
        failed += report("pqv->timm", name, args, relative(output_of(asked[index], answer), loaded(images[index])))
    return failed


def main():
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    cases = [case for case in CASES if wanted in case[0]]
    generator = torch.Generator().manual_seed(1)
    with tempfile.TemporaryDirectory() as temporary, torch.inference_mode():
        root = Path(temporary)
        failed = timm_to_ours(cases, root, generator) + ours_to_timm(cases, root, generator)
    verdict(failed, 2 * len(cases))


main()
