"""Torch-Pruning's side of bench/prune.mjs; TORCH_PRUNING is a checkout of VainF/Torch-Pruning.

    prune_torch.py l1 ARCHITECTURE WEIGHTS RATIO FILE   prunes by L1 norms and saves the module, as its example for timm does
    prune_torch.py serve                                lines on stdin: `load ARCHITECTURE BATCH THREADS`, `taylor`, `hessian`, `quit`
"""

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, os.environ.get("TORCH_PRUNING", ""))
sys.path.insert(0, str(Path(__file__).parent.parent / "conformance"))
from judge import timm, torch  # noqa: E402

try:
    import torch_pruning  # noqa: E402
except ImportError:
    sys.exit("TORCH_PRUNING names no checkout of VainF/Torch-Pruning")

ENTROPY = torch.nn.functional.cross_entropy


def attention(self, x, attn_mask=None, **_options):
    """timm's attention without the shapes that pruning changes."""
    batch, tokens, _ = x.shape
    q, k, v = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
    x = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    return self.proj(x.transpose(1, 2).reshape(batch, tokens, -1))


def l1(architecture, weights, ratio, file):
    model = timm.create_model(architecture, checkpoint_path=weights).eval()
    heads = {}
    for module in model.modules():
        if isinstance(module, timm.layers.Attention):
            module.forward = attention.__get__(module)
            heads[module.qkv] = module.num_heads
    pruner = torch_pruning.pruner.BasePruner(
        model,
        torch.randn(1, 3, 224, 224),
        importance=torch_pruning.importance.GroupMagnitudeImportance(p=1),
        pruning_ratio=float(ratio),
        ignored_layers=[model.head],
        num_heads=heads,
        prune_head_dims=True,
    )
    pruner.step()
    torch.save(model, file)


def prepared(architecture, batch, threads):
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = timm.create_model(architecture, pretrained=False).eval()
    pixels, labels = torch.randn(batch, 3, 224, 224), torch.arange(batch)
    scorer = torch_pruning.importance.GroupHessianImportance()

    def taylor():
        ENTROPY(model(pixels), labels).backward()

    def hessian():
        for loss in ENTROPY(model(pixels), labels, reduction="none"):
            model.zero_grad()
            loss.backward(retain_graph=True)
            scorer.accumulate_grad(model)

    return {"taylor": taylor, "hessian": hessian}


def serve():
    ways = {}
    for line in sys.stdin:
        command, *rest = line.split()
        if command == "load":
            ways = prepared(rest[0], int(rest[1]), int(rest[2]))
            print(torch.__version__, torch_pruning.__version__, flush=True)
        elif command in ways:
            start = time.perf_counter()
            ways[command]()
            print((time.perf_counter() - start) * 1000, flush=True)
        else:
            break


if sys.argv[1] == "l1":
    l1(*sys.argv[2:])
else:
    serve()
