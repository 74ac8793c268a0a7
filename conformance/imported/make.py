"""Writes the corpus of imported files: each model of models.py by PyTorch's exporters, as people have them.

    python conformance/imported/make.py FOLDER [--only PART] [--exporter PART]

FOLDER gets MODEL.EXPORTER.onnx, where EXPORTER is `ts` (TorchScript) or `dynamo`, the operator set, and `d` or
`f` for a dynamic or a fixed batch of two; or what ONNX Runtime makes of ts17d: its optimizer at level 1 or 2 (`ort1d`,
`ort2d`), its converter to float16 (`half17d`); native/MODEL, the same weights as timm or transformers lays them out;
and corpus.json, which says of every file how long it took or what the exporter said when it could not. What is on record there
is not made again. First one file of each model, so that a run that is cut short has seen them all.
"""

import argparse
import contextlib
import io
import json
import sys
import tempfile
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from models import CASES, Case, build  # noqa: E402

from judge import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

TORCHSCRIPT = [f"ts{opset}{batch}" for opset in (17, 11, 13, 20) for batch in "df"]
DYNAMO = [f"dynamo{opset}d" for opset in (20, 18, 23)]
ONNXRUNTIME = ["ort1d", "ort2d", "half17d"]
ROUNDS = [["ts17d"], ["dynamo20d"], *([name] for name in [*TORCHSCRIPT[1:], *DYNAMO[1:], *ONNXRUNTIME])]
BATCH = 2
# The first operator set for which the TorchScript exporter knows scaled_dot_product_attention.
FUSED_FROM = 14


def write_native(case: Case, folder: Path) -> None:
    model = build(case, True)
    if not case.architecture:
        model.save_pretrained(folder)
        return
    folder.mkdir(parents=True)
    save_file({name: tensor.clone() for name, tensor in model.state_dict().items()}, folder / "model.safetensors")
    configuration = {"input_size": case.input, "num_classes": case.args["num_classes"]}
    config = {"architecture": case.architecture, "model_args": case.args, "pretrained_cfg": configuration}
    config["num_classes"] = case.args["num_classes"]
    (folder / "config.json").write_text(json.dumps(config))


def torchscript(case: Case, path: Path, opset: int, dynamic: bool) -> None:
    names = ["pixel_values", *case.outputs]
    torch.onnx.export(
        build(case, opset >= FUSED_FROM),
        (torch.randn(BATCH, *case.input),),
        path,
        dynamo=False,
        opset_version=opset,
        input_names=names[:1],
        output_names=names[1:],
        dynamic_axes={name: {0: "batch"} for name in names} if dynamic else None,
    )


def dynamo(case: Case, path: Path, opset: int) -> None:
    torch.onnx.export(
        build(case, True),
        (torch.randn(BATCH, *case.input),),
        path,
        dynamo=True,
        opset_version=opset,
        external_data=False,
        input_names=["pixel_values"],
        output_names=list(case.outputs),
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )


def rewritten(source: Path, path: Path, exporter: str) -> None:
    if exporter.startswith("half"):
        import onnx
        from onnxruntime.transformers.float16 import convert_float_to_float16

        onnx.save(convert_float_to_float16(onnx.load(source), keep_io_types=True), path)
        return
    import onnxruntime

    levels = onnxruntime.GraphOptimizationLevel
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = levels.ORT_ENABLE_BASIC if exporter == "ort1d" else levels.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def write_file(case: Case, exporter: str, path: Path) -> None:
    if exporter in ONNXRUNTIME:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "source.onnx"
            write_file(case, "ts17d", source)
            rewritten(source, path, exporter)
        return
    opset = int(exporter[-3:-1])
    with torch.inference_mode() if exporter.startswith("ts") else torch.no_grad():
        if exporter.startswith("ts"):
            torchscript(case, path, opset, exporter.endswith("d"))
        else:
            dynamo(case, path, opset)


def attempt(case: Case, exporter: str, folder: Path) -> dict:
    """One file, or why there is none; what the exporters print is kept out of the way."""
    started = time.time()
    path = folder / f"{case}.{exporter}.onnx"
    temporary = path.with_suffix(".tmp")
    record = {"model": case.name, "exporter": exporter, "input": case.input, "outputs": case.outputs}
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            write_file(case, exporter, temporary)
        temporary.rename(path)
        record["bytes"] = path.stat().st_size
    except Exception as error:
        temporary.unlink(missing_ok=True)
        # The exporters wrap errors: the innermost one says what is wrong.
        while error.__cause__ or error.__context__:
            error = error.__cause__ or error.__context__
        lines = str(error).strip().splitlines()
        record["error"] = f"{type(error).__name__}: {lines[0] if lines else ''}"
    return {**record, "seconds": round(time.time() - started, 1)}


def make(folder: Path, only: str = "", exporter: str = "", exact: bool = False) -> None:
    """`exact`: the model whose name is `only`, not all that have it in theirs."""
    folder.mkdir(parents=True, exist_ok=True)
    index = folder / "corpus.json"
    corpus = json.loads(index.read_text()) if index.exists() else {}
    for exporters in ROUNDS:
        for case in CASES:
            native = folder / "native" / case.name
            for name in exporters:
                file = f"{case}.{name}.onnx"
                if file in corpus or exporter not in name or (only != case.name if exact else only not in case.name):
                    continue
                if not native.exists():
                    write_native(case, native)
                corpus[file] = attempt(case, name, folder)
                index.with_suffix(".tmp").write_text(json.dumps(corpus, indent=1))
                index.with_suffix(".tmp").rename(index)
                print(file, corpus[file].get("error", "ok"), corpus[file]["seconds"], flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="", help="models whose name has this in it")
    parser.add_argument("--exporter", default="", help="exporters whose name has this in it")
    given = parser.parse_args()
    torch.set_num_threads(1)
    make(given.folder, given.only, given.exporter)
