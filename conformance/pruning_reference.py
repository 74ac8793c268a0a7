"""What Torch-Pruning takes out of timm's models, for check_prune.py and for the golden file of src/prune/parity.test.ts.

TORCH_PRUNING is a checkout of VainF/Torch-Pruning, which is on no package index.
"""

import os
import sys

import numpy

from judge import timm, torch


def torch_pruning():
    """The package; None, and said so, where there is no checkout."""
    checkout = os.environ.get("TORCH_PRUNING")
    if not checkout:
        print("TORCH_PRUNING is not set: the comparison with Torch-Pruning is left out")
        return None
    sys.path.insert(0, checkout)
    import torch_pruning as package

    return package


def mixed(x):
    """A 32-bit hash of 32-bit integers."""
    x = x.astype(numpy.uint32)
    x ^= x >> numpy.uint32(16)
    x *= numpy.uint32(0x7FEB352D)
    x ^= x >> numpy.uint32(15)
    x *= numpy.uint32(0x846CA68B)
    return x ^ (x >> numpy.uint32(16))


def noise(name, shape):
    """Numbers of mean 0 and variance 1 that test/noise.ts makes of the same name and shape, bit for bit."""
    seed = numpy.uint32(2166136261)
    with numpy.errstate(over="ignore"):
        for byte in name.encode():
            seed = (seed ^ numpy.uint32(byte)) * numpy.uint32(16777619)
        places = numpy.arange(int(numpy.prod(shape, dtype=numpy.int64)), dtype=numpy.uint32)
        draws = mixed(mixed(places) + seed)
    uniform = draws.astype(numpy.float64) / 2**32
    return ((uniform - 0.5) * 12**0.5).reshape(shape)


def parameter_noise(name, shape):
    """What a parameter of a model is filled with."""
    values = noise(name, shape)
    if len(shape) <= 1:
        scale = name.endswith(("weight", "gamma"))
        values = (1.0 if scale else 0.0) + 0.2 * values
    else:
        values = values / int(numpy.prod(shape[1:], dtype=numpy.int64)) ** 0.5
    return torch.from_numpy(values.astype(numpy.float32))


def noisy_model(architecture, **args):
    model = timm.create_model(architecture, **args).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(parameter_noise(name, list(parameter.shape)))
    return model


def plain_attention(self, x, attn_mask=None, **_kwargs):
    """timm's attention step by step, so that tracing sees each operation."""
    batch, tokens, _ = x.shape
    parts = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
    q, k, v = parts.unbind(0)
    weights = (q * self.scale @ k.transpose(-2, -1)).softmax(dim=-1)
    return self.proj((weights @ v).transpose(1, 2).reshape(batch, tokens, -1))


def plain_merging(self, x):
    """
    timm's merging of patches by selected rows and columns that are joined, which Torch-Pruning follows: each channel goes from
    four places. Of what timm does (reshape, permute, flatten) it takes as many of the 4 C channels as of the C, and the model
    that is left does not run.
    """
    rows = [torch.arange(start, x.shape[1], 2) for start in (0, 1)]
    columns = [torch.arange(start, x.shape[2], 2) for start in (0, 1)]
    parts = [x.index_select(1, rows[h]).index_select(2, columns[w]) for w in (0, 1) for h in (0, 1)]
    return self.reduction(self.norm(torch.cat(parts, dim=-1)))


def attentions(model):
    """Modules with queries, keys and values in one Linear, traceable, in a model that is."""
    for module in model.modules():
        if type(module).__name__ == "PatchMerging":
            module.forward = plain_merging.__get__(module)
        if isinstance(module, timm.layers.Attention):
            module.forward = plain_attention.__get__(module)
            yield module
        elif type(module).__name__ == "WindowAttention":
            module.fused_attn = False
            yield module


class Reference:
    """Torch-Pruning on one model, which is traced once: nothing is pruned, only asked what would go."""

    def __init__(self, tp, model, pixels, labels, batch_size=2):
        self.tp, self.model, self.data = tp, model, (pixels, labels, batch_size)
        self.scored = None  # the importance that the gradients in the model are of
        self.heads = {module.qkv: module.num_heads for module in attentions(model)}
        self.names = {module: name for name, module in model.named_modules()}
        # A table of numbers for each head, which stays with head dimensions: Torch-Pruning would take heads for channels.
        tables = [p for name, p in model.named_parameters() if name.endswith("bias_table")]
        self.pruner = tp.pruner.BasePruner(
            model,
            pixels[:1],
            importance=None,
            ignored_layers=[model.get_classifier(), *tables],
            num_heads=dict(self.heads),
        )

    def removed(self, case):
        """Module name -> output indices that go. `case` has the options of our pass, head dimensions being tied."""
        pruner, heads, ranking = self.pruner, case.get("heads", 0), case.get("ranking", "uniform")
        if self.scored != case["importance"]:
            self.scored, pruner.importance = case["importance"], self.scorer(case["importance"])
        pruner.per_step_pruning_ratio = [0, case.get("ratio", heads)]  # no head goes unless some width does
        pruner.per_step_head_pruning_ratio = [0, heads]
        pruner.prune_num_heads, pruner.prune_head_dims = heads > 0, heads == 0
        pruner.global_pruning, pruner.isomorphic = ranking != "uniform", ranking == "isomorphic"
        pruner.current_step, pruner._scope_initial_channels = 0, {}
        pruner.num_heads.update(self.heads)
        pruner.out_channel_groups.update(self.heads)
        gone = {}
        for group in pruner.step(interactive=True):
            for dependency, indices in group:
                name = self.names.get(dependency.target.module)
                if name and pruner.DG.is_out_channel_pruning_fn(dependency.handler):
                    gone.setdefault(name, set()).update(indices)
        return {name: sorted(indices) for name, indices in gone.items()}

    def scorer(self, name):
        """The importance, with the gradients that it looks at in the model."""
        importance = self.tp.importance
        pixels, labels, batch_size = self.data
        loss = torch.nn.functional.cross_entropy
        self.model.zero_grad()
        if name == "taylor":
            for start in range(0, len(labels), batch_size):
                end = start + batch_size
                loss(self.model(pixels[start:end]), labels[start:end]).backward()
            return importance.GroupTaylorImportance()
        if name == "hessian":
            scorer = importance.GroupHessianImportance()
            loss(self.model(pixels[:1]), labels[:1]).backward()
            scorer.accumulate_grad(self.model)
            return scorer
        if name == "lamp":
            return importance.LAMPImportance()
        return importance.GroupMagnitudeImportance(p={"l1": 1, "l2": 2}[name])


RATIOS = (0.09375, 0.25, 0.5)
IMPORTANCES = ("l1", "l2", "taylor", "hessian")
RANKINGS = ("uniform", "global", "isomorphic")
CASES = [
    case
    for i in IMPORTANCES
    for case in (
        *({"importance": i, "ranking": k, "ratio": r} for k in RANKINGS for r in RATIOS),
        *({"importance": i, "heads": r} for r in RATIOS),
    )
]
CASES += [
    *({"importance": "lamp", "ranking": "uniform", "ratio": r} for r in RATIOS),
]

# Architectures as they are, but for their sizes.
SMALL = {
    "deit_tiny_patch16_224": {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 3},
    "deit_small_patch16_224": {"img_size": 32, "patch_size": 16, "embed_dim": 48, "depth": 2, "num_heads": 6},
    "vit_small_patch14_reg4_dinov2": {"img_size": 28, "embed_dim": 32, "depth": 2, "num_heads": 4},
    "swin_tiny_patch4_window7_224": {
        "img_size": 32, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4,
    },
}
CLASSES = 5
LABELS = [0, 3, 1, 4]


def layers_compared(model, case):
    """
    Names of layers, one or more of every group that the case takes from, but for head dimensions (docs/pruning.md)
    - by LAMP, which Torch-Pruning takes of the channels of all heads, and then the mean over heads, where we take it of
      what leaves together;
    - of isomorphic windows, whose blocks Torch-Pruning sorts by which reshapes PyTorch's trace of them has.
    """
    inner = ["fc1", "patch_embed.proj", "reduction"]
    windows = any(type(module).__name__ == "WindowAttention" for module in model.modules())
    without_dims = case["importance"] == "lamp" or (windows and case.get("ranking") == "isomorphic")
    wanted = ["qkv"] if "heads" in case else inner if without_dims else ["qkv", *inner]
    for name, module in model.named_modules():
        if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d)) and name.endswith(tuple(wanted)):
            yield name


def case_name(case):
    """`taylor uniform 0.25`, `l1 heads 0.5`"""
    return " ".join(
        str(part) for part in (case["importance"], case.get("ranking", "heads"), case.get("ratio", case.get("heads")))
    )


def bits(indices):
    """Bit i of a hexadecimal number for each index i."""
    return f"{sum(1 << i for i in indices):x}"


def golden(tp):
    """What Torch-Pruning takes out of the small models, by model and case: a number a layer."""
    torch.set_num_threads(1)  # as quick for models so small, and much quicker on a busy machine
    models = {}
    for architecture, args in SMALL.items():
        size = args["img_size"]
        pixels = torch.from_numpy(noise("pixels", [len(LABELS), 3, size, size]).astype(numpy.float32))
        model = noisy_model(architecture, **args, num_classes=CLASSES)
        reference = Reference(tp, model, pixels, torch.tensor(LABELS))
        gone = {}
        for case in CASES:
            taken = reference.removed(case)
            gone[case_name(case)] = {name: bits(taken.get(name, [])) for name in layers_compared(model, case)}
        models[architecture] = {"args": args, "gone": gone}
    return {"classes": CLASSES, "labels": LABELS, "models": models}
