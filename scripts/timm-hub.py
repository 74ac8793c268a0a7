#!/usr/bin/env python3
"""Writes src/zoo/data/timm-hub.json with timm installed: where the pretrained weights of its names are on the Hub.

    python scripts/timm-hub.py

`defaults` has the tag that a name without one stands for, where it is not the first of its tags in timm-models.json;
`repositories` the weights that are not in timm/NAME.TAG: another repository, or null where they are not on the Hub.
"""

import json
import sys
from pathlib import Path

root = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(root / "conformance"))
import judge  # noqa: E402, F401  (declares what timm's import of torchvision misses)
from timm.models._registry import _model_default_cfgs as cards  # noqa: E402

models = json.loads((root / "src/zoo/data/timm-models.json").read_text())["models"]
defaults, repositories = {}, {}
for name, row in sorted(models.items()):
    tags = row["tags"]
    if not tags:
        continue
    card = cards[name]
    first = next((tag for tag in card.tags if tag in tags), tags[0])
    if first != tags[0]:
        defaults[name] = first
    for tag in tags:
        usual = f"timm/{name}.{tag}"
        given = card.cfgs[tag].hf_hub_id
        repository = usual if given == "timm/" else given
        if repository != usual:
            repositories[f"{name}.{tag}"] = repository or None
path = root / "src/zoo/data/timm-hub.json"
path.write_text(json.dumps({"defaults": defaults, "repositories": repositories}, indent=1) + "\n")
print(f"{len(defaults)} defaults, {len(repositories)} other repositories in {path}")
