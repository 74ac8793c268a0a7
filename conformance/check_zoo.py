"""Judges the architectures against timm: random weights and inputs, both ways.

    python conformance/check_zoo.py [FAMILY] [NAME_PART]

First timm makes each model and our engine runs the folder; then we make each model and timm runs
the folder. Outputs must agree to 1e-4 of the largest one. What we write must satisfy onnx.checker.

The cases are conformance/zoo/FAMILY.json, a list of { name, args, input }: larger architectures are made
narrow and shallow, for small images, by their arguments, which tests those too. `input` [C, H, W] is for
architectures that take no img_size; `steep` below 1 is for those of which float32 itself keeps few digits with steep
random weights.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy
import onnx
from safetensors.torch import save_file

from judge import node, randomized, relative, timm, torch, verdict

TOLERANCE = 1e-4
CASES = Path(__file__).parent / "zoo"


def cases_of(family, part):
    files = sorted(CASES.glob(f"{family or '*'}.json"))
    if not files:
        sys.exit(f"no cases for {family}: {', '.join(path.stem for path in sorted(CASES.glob('*.json')))}")
    return [case for path in files for case in json.loads(path.read_text()) if part in case["name"]]


def input_of(model, case):
    """The input [C, H, W] of a case: its own, or what its arguments change of the architecture's."""
    args = case.get("args", {})
    channels, *size = case.get("input", model.pretrained_cfg["input_size"])
    given = args.get("img_size", size)
    size = [given, given] if isinstance(given, int) else list(given)
    return [args.get("in_chans", channels), *size]


def timm_args(case):
    """The arguments of timm's entry point; mvitv2's has its description in a table of the module."""
    args = dict(case.get("args", {}))
    described = args.pop("model_cfg", None)
    if described:
        timm.models.mvitv2.model_cfgs[case["name"]] = timm.models.mvitv2.MultiScaleVitCfg(**described)
    return args


def timm_folder(case, folder, generator, steep=1.0):
    args = case.get("args", {})
    model = randomized(timm.create_model(case["name"], **timm_args(case)), generator, steep)
    folder.mkdir()
    save_file({name: tensor.clone() for name, tensor in model.state_dict().items()}, folder / "model.safetensors")
    config = {
        "architecture": case["name"],
        "num_classes": model.num_classes,
        "model_args": {key: value for key, value in args.items() if key != "num_classes"},
        "pretrained_cfg": {
            **{
                key: model.pretrained_cfg[key]
                for key in ("mean", "std", "interpolation", "crop_pct", "num_classes", "fixed_input_size")
            },
            "input_size": case.get("input", model.pretrained_cfg["input_size"]),
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    return model


def request_for(model, case, folder, generator, batch):
    pixels = torch.randn((batch, *input_of(model, case)), generator=generator)
    pixels.numpy().tofile(folder.with_suffix(".in"))
    return pixels, {
        "folder": str(folder),
        "input": str(folder.with_suffix(".in")),
        "shape": list(pixels.shape),
        "output": str(folder.with_suffix(".out")),
    }


def output_of(asked, answer):
    return torch.from_numpy(numpy.fromfile(asked["output"], dtype=numpy.float32)).reshape(answer["shape"])


def report(label, case, error, note=""):
    bad = not error <= TOLERANCE
    rest = {key: value for key, value in case.items() if key != "name"}
    print(f"{label:10} {case['name']:38} {error:9.1e} {'FAIL' if bad else ''} {json.dumps(rest) if rest else ''} {note}", flush=True)
    return int(bad)


def timm_to_ours(cases, root, generator):
    asked, theirs, counts = [], [], []
    for index, case in enumerate(cases):
        folder = root / f"timm{index}"
        model = timm_folder(case, folder, generator, case.get("steep", 1.0))
        pixels, request = request_for(model, case, folder, generator, 2)
        asked.append(request)
        # One by one: timm's gcvit mixes the images of a batch.
        theirs.append(torch.cat([model(image[None]) for image in pixels]))
        counts.append(sum(parameter.numel() for parameter in model.parameters()))
    failed = 0
    for index, answer in enumerate(node("zoo.mjs", asked)):
        case = cases[index]
        if "error" in answer:
            failed += report("timm->pqv", case, float("inf"), answer["error"])
        elif answer["description"]["parameters"] != counts[index]:
            failed += report("timm->pqv", case, float("inf"), "parameter counts differ")
        else:
            failed += report("timm->pqv", case, relative(output_of(asked[index], answer), theirs[index]))
    return failed


def timm_model_of(case, folder):
    """timm's model of a folder. Hybrids of a ResNet-D would ask the hub for a pretrained ResNet as well."""
    weights = f"{folder}/model.safetensors"
    if "_resnet" in case["name"]:
        return timm.create_model(f"local-dir:{folder}", checkpoint_path=weights).eval()
    if "model_cfg" in case.get("args", {}):
        return timm.create_model(case["name"], checkpoint_path=weights, **timm_args(case)).eval()
    return timm.create_model(f"local-dir:{folder}", pretrained=True).eval()


def ours_to_timm(cases, root, generator):
    asked, images = [], []
    for index, case in enumerate(cases):
        folder = root / f"pqv{index}"
        model = timm.create_model(case["name"], **timm_args(case))
        pixels, request = request_for(model, case, folder, generator, 1)
        init = {"architecture": case["name"], "modelArgs": case.get("args", {})}
        asked.append({**request, "init": init, "inputSize": case.get("input"), "seed": index})
        images.append(pixels)
    failed = 0
    for index, answer in enumerate(node("zoo.mjs", asked)):
        case = cases[index]
        if "error" in answer:
            failed += report("pqv->timm", case, float("inf"), answer["error"])
            continue
        folder = asked[index]["folder"]
        if "model.safetensors" not in answer["files"]:
            failed += report("pqv->timm", case, float("inf"), "no timm folder was written")
            continue
        onnx.checker.check_model(f"{folder}/model.onnx", full_check=True)
        loaded = timm_model_of(case, folder)
        failed += report("pqv->timm", case, relative(output_of(asked[index], answer), loaded(images[index])))
    return failed


def main():
    family, part = ([*sys.argv[1:3], "", ""])[:2]
    cases = cases_of(family, part)
    generator = torch.Generator().manual_seed(1)
    with tempfile.TemporaryDirectory() as temporary, torch.inference_mode():
        root = Path(temporary)
        failed = timm_to_ours(cases, root, generator) + ours_to_timm(cases, root, generator)
    verdict(failed, 2 * len(cases))


if __name__ == "__main__":
    main()
