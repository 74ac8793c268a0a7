"""The PyTorch side of bench/train.mjs: a timm model's eager training step, timed when asked.

Reads lines from stdin: `load NAME BATCH THREADS MODEL_ARGS`, `step`, `quit`; answers each with a line.
"""

import json
import sys
import time

import torch

try:
    # torchvision without its compiled operators can still be imported when their names exist.
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
except RuntimeError:
    pass
import timm  # noqa: E402


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
