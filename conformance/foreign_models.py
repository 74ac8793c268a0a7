"""Models as onnxruntime's tools quantize them: each of MODELS, in every way of WAYS.

    python conformance/foreign_models.py FOLDER [--only PART] [--way PART]

FOLDER gets MODEL.SOURCE.onnx, where SOURCE is `pqv` (our own export) or `ts` (PyTorch's exporter), the float model
`MODEL.SOURCE.float.onnx`; and what could not be made, with what the tool said, in skipped.json.
"""

import argparse
import contextlib
import io
import json
import logging
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy  # noqa: E402
import onnx  # noqa: E402
from judge import ROOT, randomized, timm, torch  # noqa: E402
from onnxruntime.quantization import (  # noqa: E402
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process  # noqa: E402

# Name, and arguments that make it small enough to be tried in every way.
MODELS = {
    "deit": ("deit_tiny_patch16_224", {"img_size": 64, "depth": 2, "num_classes": 10}, 64),
    "swin": (
        "swin_tiny_patch4_window7_224",
        {"img_size": 64, "window_size": 4, "depths": [1, 2], "num_heads": [2, 4], "embed_dim": 32, "num_classes": 10},
        64,
    ),
    "mobilevit": ("mobilevit_xxs", {"num_classes": 10}, 64),
}
FULL = {
    "deit-full": ("deit_tiny_patch16_224", {}, 224),
    "swin-full": ("swin_tiny_patch4_window7_224", {}, 224),
    "mobilevit-full": ("mobilevit_xxs", {}, 256),
}
SOURCES = ("pqv", "ts")

S8, U8 = QuantType.QInt8, QuantType.QUInt8
QDQ, OPERATOR = QuantFormat.QDQ, QuantFormat.QOperator


def dynamic(**options):
    return lambda source, target, data: quantize_dynamic(source, target, **options)


def static(form, **options):
    return lambda source, target, data: quantize_static(source, target, data(), quant_format=form, **options)


def half(source, target, _data):
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(onnx.load(source), keep_io_types=True), target)


def blocks(bits, form=QuantFormat.QOperator, symmetric=True):
    def make(source, target, _data):
        from onnxruntime.quantization.matmul_nbits_quantizer import (
            DefaultWeightOnlyQuantConfig,
            MatMulNBitsQuantizer,
        )

        config = DefaultWeightOnlyQuantConfig(block_size=32, is_symmetric=symmetric, quant_format=form, bits=bits)
        maker = MatMulNBitsQuantizer(onnx.load(source), algo_config=config)
        maker.process()
        maker.model.save_model_to_file(target)

    return make


LINEAR = ["MatMul", "Gemm"]
WAYS = {
    "dynamic": dynamic(),
    "dynamic-u8": dynamic(weight_type=U8),
    "dynamic-channel": dynamic(weight_type=S8, per_channel=True),
    "dynamic-channel-u8": dynamic(weight_type=U8, per_channel=True),
    "dynamic-reduced": dynamic(weight_type=S8, per_channel=True, reduce_range=True),
    "dynamic-linear": dynamic(weight_type=S8, op_types_to_quantize=LINEAR),
    "dynamic-attention": dynamic(weight_type=U8, extra_options={"MatMulConstBOnly": False}),
    "qdq": static(QDQ),
    "qdq-u8": static(QDQ, activation_type=U8, weight_type=S8),
    "qdq-u8u8": static(QDQ, activation_type=U8, weight_type=U8),
    "qdq-channel": static(QDQ, activation_type=U8, weight_type=S8, per_channel=True),
    "qdq-channel-s8": static(QDQ, activation_type=S8, weight_type=S8, per_channel=True),
    "qdq-reduced": static(QDQ, activation_type=U8, weight_type=S8, per_channel=True, reduce_range=True),
    "qdq-linear": static(
        QDQ, activation_type=U8, weight_type=S8, op_types_to_quantize=LINEAR, extra_options={"MatMulConstBOnly": True}
    ),
    "qdq-conv": static(QDQ, activation_type=U8, weight_type=S8, op_types_to_quantize=["Conv"], per_channel=True),
    "qdq-16": static(QDQ, activation_type=QuantType.QUInt16, weight_type=S8, op_types_to_quantize=LINEAR),
    "operator": static(OPERATOR, activation_type=U8, weight_type=S8),
    "operator-u8u8": static(OPERATOR, activation_type=U8, weight_type=U8),
    "operator-channel": static(OPERATOR, activation_type=U8, weight_type=S8, per_channel=True),
    "operator-s8": static(OPERATOR, activation_type=S8, weight_type=S8, per_channel=True),
    "operator-linear": static(
        OPERATOR, activation_type=U8, weight_type=S8, op_types_to_quantize=LINEAR, extra_options={"MatMulConstBOnly": True}
    ),
    "half": half,
    "blocks4": blocks(4),
    "blocks4-zero": blocks(4, symmetric=False),
    "blocks8": blocks(8),
    "blocks4-qdq": blocks(4, form=QuantFormat.QDQ),
}
# Prepared first as onnxruntime advises: shapes inferred, its optimizer run.
PREPARED = ("dynamic-channel", "qdq-channel", "operator-channel", "qdq")


class Images(CalibrationDataReader):
    """Noise, the same each time."""

    def __init__(self, name, size, count=4):
        generator = numpy.random.default_rng(5)
        self.batches = iter(
            [{name: generator.standard_normal((1, 3, size, size)).astype(numpy.float32)} for _ in range(count)]
        )

    def get_next(self):
        return next(self.batches, None)


def cli(*arguments):
    done = subprocess.run(
        ["node", str(ROOT / "dist/cli/main.js"), *map(str, arguments), "--quiet"], capture_output=True, text=True
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())


def write_float(case, source, target):
    name, args, size = case
    model = timm.create_model(name, **args).eval()
    randomized(model, torch.Generator().manual_seed(3))
    if source == "ts":
        torch.onnx.export(
            model,
            (torch.randn(1, 3, size, size),),
            target,
            dynamo=False,
            opset_version=17,
            input_names=["pixel_values"],
            output_names=["logits"],
            dynamic_axes={"pixel_values": {0: "batch"}, "logits": {0: "batch"}},
        )
        return
    from safetensors.torch import save_file

    with tempfile.TemporaryDirectory() as folder:
        save_file({key: value.clone().contiguous() for key, value in model.state_dict().items()}, f"{folder}/model.safetensors")
        config = {"architecture": name, "model_args": args, "num_classes": model.num_classes}
        config["pretrained_cfg"] = {"input_size": [3, size, size], "num_classes": model.num_classes}
        Path(folder, "config.json").write_text(json.dumps(config))
        cli("export", folder, "--format", "onnx", "-o", target)


def make(folder, only="", way_part="", full=False):
    """Yields (model, source, way, path, size); path is None where the tool could not, and says why in its place."""
    logging.disable(logging.WARNING)
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for model, case in (FULL if full else MODELS).items():
        for source in SOURCES:
            if only not in f"{model}.{source}":
                continue
            plain = folder / f"{model}.{source}.float.onnx"
            with quiet():
                if not plain.exists():
                    write_float(case, source, plain)
            name = onnx.load(plain).graph.input[0].name
            names = [*WAYS, *(f"{way}-prepared" for way in PREPARED)]
            for way in names:
                if way_part not in way:
                    continue
                target = folder / f"{model}.{source}.{way}.onnx"
                try:
                    if not target.exists():
                        with quiet():
                            build(way, plain, target, lambda: Images(name, case[2]))
                except Exception as error:  # noqa: BLE001
                    target.unlink(missing_ok=True)
                    yield model, source, way, None, f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"
                    continue
                yield model, source, way, target, case[2]


def build(way, plain, target, data):
    if not way.endswith("-prepared"):
        WAYS[way](plain, target, data)
        return
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder, "prepared.onnx")
        quant_pre_process(plain, prepared)
        WAYS[way.removesuffix("-prepared")](prepared, target, data)


@contextlib.contextmanager
def quiet():
    """Says nothing; what the tools leave lying about goes with a folder of its own."""
    silent = io.StringIO()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent):
            yield


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--way", default="")
    parser.add_argument("--full", action="store_true")
    given = parser.parse_args()
    for model, source, way, path, note in make(given.folder, given.only, given.way, given.full):
        print(f"{model}.{source}.{way}", path.stat().st_size if path else f"not made: {note}", flush=True)


if __name__ == "__main__":
    main()
