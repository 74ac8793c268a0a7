"""Writes the files beside it: two small models, in float32 and as onnxruntime's tools quantize them.

    python src/import/quantized/golden/make.py
"""

import logging
import sys
from pathlib import Path

import onnx

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[3] / "conformance"))

from foreign_models import WAYS, Images, quiet  # noqa: E402
from judge import randomized, timm, torch  # noqa: E402

WANTED = [
    "dynamic-channel", "dynamic-u8", "dynamic-attention", "qdq-channel", "qdq-u8u8", "operator-channel", "operator-u8u8", "qdq-16",
]  # fmt: skip
SIZE = 16


def models():
    args = {"img_size": SIZE, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2, "num_classes": 4}
    yield "vit", timm.create_model("deit_tiny_patch16_224", **args)
    yield (
        "convolutions",
        torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, stride=2, padding=1),
            torch.nn.Sigmoid(),
            torch.nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
            torch.nn.Conv2d(8, 12, 1),
            torch.nn.ReLU(),
            torch.nn.AdaptiveAvgPool2d(1),
            torch.nn.Flatten(),
            torch.nn.Linear(12, 4),
        ),
    )


def main():
    logging.disable(logging.WARNING)
    for name, model in models():
        randomized(model, torch.Generator().manual_seed(3))
        plain = HERE / f"{name}.float.onnx"
        axes = {"images": {0: "batch"}, "scores": {0: "batch"}}
        with quiet():
            torch.onnx.export(
                model, (torch.randn(1, 3, SIZE, SIZE),), plain, dynamo=False, opset_version=17,
                input_names=["images"], output_names=["scores"], dynamic_axes=axes,
            )  # fmt: skip
        for way in WANTED:
            target = HERE / f"{name}.{way}.onnx"
            with quiet():
                WAYS[way](plain, target, lambda: Images("images", SIZE))
            without_shapes = onnx.load(target)
            del without_shapes.graph.value_info[:]
            onnx.save(without_shapes, target)


if __name__ == "__main__":
    main()
