"""A few imported files through every cell: what conformance/imported does with hundreds, in about a minute.

    python conformance/check_imported.py

Then they are pruned, and what is left is rebuilt from pruning.json (imported/check_pruned.py). The TorchScript exporter alone
is asked, which needs nothing but PyTorch, and ONNX Runtime's optimizer and converter; conformance/imported/make.py writes the rest.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "imported"))

from check_pruned import check  # noqa: E402
from make import make  # noqa: E402

from judge import ROOT, torch  # noqa: E402

FILES = [("deit", "ts17d"), ("swin_transformer", "ts13d"), ("efficientvit_mit", "ts11d"), ("efficientformer", "ort2d"), ("levit", "half17d")]

torch.set_num_threads(1)
with tempfile.TemporaryDirectory() as folder:
    for model, exporter in FILES:
        make(Path(folder), model, exporter, exact=True)
    driver = HERE / "imported" / "check_imported.mjs"
    cells = subprocess.run(["node", driver, folder], cwd=ROOT).returncode
    failed, total = check(Path(folder))
    print(f"{total - failed} of {total} pruned as pruning.json says")
    sys.exit(1 if cells or failed else 0)
