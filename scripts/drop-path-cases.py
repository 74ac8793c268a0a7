"""Writes src/train/timm-drop-path.json: the rates of timm's DropPath modules, those of 0 left out, with drop_path_rate 0.3.

    python scripts/drop-path-cases.py

Families whose rates do not rise linearly (CaiT, XCiT, LeViT, CoaT), that share a module between two branches (ConViT, TNT),
or have branches beside a shortcut with a layer of its own (MViT, Hiera, MaxViT), are left out.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "conformance"))

from judge import timm, torch  # noqa: E402
from timm.layers import DropPath  # noqa: E402

NAMES = """
    vit_tiny_patch16_224 deit_tiny_distilled_patch16_224 vit_relpos_small_patch16_224 vit_small_r26_s32_224
    swin_tiny_patch4_window7_224 swinv2_tiny_window8_256 swinv2_cr_tiny_224 beit_base_patch16_224
    eva02_tiny_patch14_224 gcvit_xxtiny pit_ti_224 nest_tiny pvt_v2_b0 twins_pcpvt_small tiny_vit_5m_224 edgenext_xx_small
    efficientformer_l1 efficientformerv2_s0 vitamin_small_224
""".split()


def rates(name):
    model = timm.create_model(name, drop_path_rate=0.3)
    found = [module.drop_prob for module in model.modules() if isinstance(module, DropPath)]
    return [round(rate, 6) for rate in found if rate]


path = ROOT / "src/train/timm-drop-path.json"
path.write_text(json.dumps({name: rates(name) for name in NAMES}) + "\n")
