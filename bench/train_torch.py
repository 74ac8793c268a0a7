"""The PyTorch side of bench/train.mjs: a timm model's eager training step, timed when asked.

Reads lines from stdin: `load NAME BATCH THREADS MODEL_ARGS`, `step`, `quit`; answers each with a line.
"""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "conformance"))
from judge import timm, torch  # noqa: E402


def prepare(name, batch, threads, model_args):
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False, **model_args).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.05)
    height, width = model.patch_embed.img_size
    pixels = torch.randn(batch, 3, height, width)
    targets = torch.nn.functional.one_hot(torch.arange(batch) % model.num_classes, model.num_classes).float()

    def step():
        start = time.perf_counter()
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(pixels), targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1)
        optimizer.step()
        loss.item()
        return (time.perf_counter() - start) * 1000

    return step


step = None
for line in sys.stdin:
    command, *rest = line.split()
    if command == "load":
        step = prepare(rest[0], int(rest[1]), int(rest[2]), json.loads("".join(rest[3:])))
        print(torch.__version__, flush=True)
    elif command == "step":
        print(step(), flush=True)
    else:
        break
