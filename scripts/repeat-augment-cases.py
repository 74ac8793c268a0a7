"""Writes what timm's RepeatAugSampler makes of an order: src/dataset/golden/repeat-augment.json."""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "conformance"))

from judge import timm, torch  # noqa: E402, F401
from timm.data.distributed_sampler import RepeatAugSampler  # noqa: E402

cases = [
    {
        "images": images,
        "repeats": repeats,
        "order": list(
            RepeatAugSampler(
                range(images), num_replicas=1, rank=0, shuffle=False, num_repeats=repeats, selected_round=0
            )
        ),
    }
    for images, repeats in [(10, 3), (12, 3), (7, 1), (5, 2), (2, 5)]
]
(ROOT / "src/dataset/golden/repeat-augment.json").write_text(json.dumps(cases) + "\n")
