"""Writes src/dataset/rand-augment/timm-cases.json: what timm and Pillow make of a small image by each change of RandAugment.

    python scripts/rand-augment-cases.py
"""

import json
from pathlib import Path

import torch

for name in ("nms", "qnms"):
    torch.library.define(f"torchvision::{name}", "(Tensor a, Tensor b, float c) -> Tensor")

import numpy  # noqa: E402
from PIL import Image  # noqa: E402
from timm.data import auto_augment as timm  # noqa: E402

WIDTH, HEIGHT = 9, 7
FILL = (124, 116, 104)
AMOUNTS = {
    "Rotate": [17.5, -30],
    "ShearX": [0.25, -0.3],
    "ShearY": [0.25, -0.3],
    "TranslateXRel": [0.3, -0.45],
    "TranslateYRel": [0.3, -0.45],
    "Posterize": [0, 1, 4, 8],
    "Solarize": [0, 100, 256],
    "SolarizeAdd": [0, 60, 110],
    "Color": [0.1, 0.7, 1.9],
    "Contrast": [0.1, 0.7, 1.9],
    "Brightness": [0.1, 0.7, 1.9],
    "Sharpness": [0.1, 0.7, 1.9],
    "AutoContrast": [0],
    "Equalize": [0],
    "Invert": [0],
}

generator = numpy.random.default_rng(3)
pixels = generator.integers(20, 230, (HEIGHT, WIDTH, 3), dtype=numpy.uint8)
image = Image.fromarray(pixels)
cases = []
for name, amounts in AMOUNTS.items():
    for amount in amounts:
        options = {"fillcolor": FILL, "resample": Image.Resampling.BILINEAR}
        arguments = [] if name in ("AutoContrast", "Equalize", "Invert") else [amount]
        made = timm.NAME_TO_OP[name](image, *arguments, **options)
        cases.append({"name": name, "amount": amount, "data": numpy.asarray(made).flatten().tolist()})

levels = {}
for name, function in timm.LEVEL_TO_ARG.items():
    if function is None:
        continue
    found = []
    for level in (0, 3.3, 9, 10):
        # A sign is drawn: both are tried for.
        values = {function(level, {"translate_pct": 0.45, "translate_const": 100})[0] for _ in range(64)}
        found.append({"level": level, "values": sorted(values)})
    levels[name] = found

path = Path(__file__).parent.parent / "src/dataset/rand-augment/timm-cases.json"
document = {"width": WIDTH, "height": HEIGHT, "fill": FILL, "data": pixels.flatten().tolist(), "cases": cases, "levels": levels}
path.write_text(json.dumps(document, separators=(",", ":")) + "\n")
