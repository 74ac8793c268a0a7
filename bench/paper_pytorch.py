"""Has PyTorch itself write PyTorch Lite files of a model in timm's layout, as the paper's tool does.

    python3 bench/paper_pytorch.py MODEL_FOLDER NUMBERS=FILE.ptl [NUMBERS=FILE.ptl ...]

NUMBERS is fp32 or a quantized engine (int8 by quantize_dynamic, with a scale for each channel as our files have it
for x86, fbgemm and onednn). The module is scripted and frozen: the mobile optimizer needs a PyTorch built with
XNNPACK, and what this PyTorch saves of an unfrozen int8 module it can't load.
"""

import copy
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "conformance"))
from judge import timm, torch  # noqa: E402
from torch.ao.quantization import per_channel_dynamic_qconfig, quantize_dynamic  # noqa: E402

folder, *orders = sys.argv[1:]
dense = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
for order in orders:
    numbers, _, path = order.partition("=")
    model = copy.deepcopy(dense)
    if numbers != "fp32":
        torch.backends.quantized.engine = numbers
        model = quantize_dynamic(model, {torch.nn.Linear: per_channel_dynamic_qconfig}, dtype=torch.qint8)
    torch.jit.freeze(torch.jit.script(model))._save_for_lite_interpreter(path)
