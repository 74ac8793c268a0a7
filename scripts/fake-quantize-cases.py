"""Writes src/quantize/fake-torch-cases.json: a Linear behind PyTorch's FakeQuantize, its result and its gradients.

    python scripts/fake-quantize-cases.py

Weights are observed as quantize_dynamic of each backend does; activations by a MinMaxObserver over the values themselves
(dynamic), or with the range of values half as large, so that some are cut off (static).
"""

import json
from pathlib import Path

import torch
from torch.ao.quantization import FakeQuantize, MinMaxObserver, PerChannelMinMaxObserver

ROWS, INPUTS, OUTPUTS = 7, 10, 8
BACKENDS = {"fbgemm": (True, 127), "onednn": (True, 255), "qnnpack": (False, 255)}

torch.manual_seed(5)
x = torch.randn(ROWS, INPUTS) * 1.3 + 0.2
weight = torch.randn(OUTPUTS, INPUTS) * torch.linspace(0.2, 1.5, OUTPUTS)[:, None]
bias = torch.randn(OUTPUTS)
slope = torch.randn(ROWS, OUTPUTS)


def fake_weight(per_channel):
    observer = PerChannelMinMaxObserver if per_channel else MinMaxObserver
    scheme = torch.per_channel_symmetric if per_channel else torch.per_tensor_symmetric
    return FakeQuantize(observer, quant_min=-128, quant_max=127, dtype=torch.qint8, qscheme=scheme)


def ranges(values, levels):
    observer = MinMaxObserver(torch.quint8, torch.per_tensor_affine, quant_min=0, quant_max=levels)
    observer(values)
    scale, zero_point = observer.calculate_qparams()
    return scale.item(), int(zero_point.item())


cases = []
for backend, (per_channel, levels) in BACKENDS.items():
    for scheme in ("dynamic", "static"):
        given, learned = x.clone().requires_grad_(), weight.clone().requires_grad_()
        scale, zero_point = ranges(x if scheme == "dynamic" else x / 2, levels)
        # QuantizeLinear goes up to 255, also where the range was chosen for 127.
        faked = torch.fake_quantize_per_tensor_affine(given, scale, zero_point, 0, 255)
        y = torch.nn.functional.linear(faked, fake_weight(per_channel)(learned), bias)
        (y * slope).sum().backward()
        cut = int((given.grad == 0).sum()), int((learned.grad == 0).sum())
        print(backend, scheme, "cut off: activations %d, weights %d" % cut)
        cases.append({
            "backend": backend,
            "scheme": scheme,
            "scale": scale,
            "zeroPoint": zero_point,
            "y": y.detach().flatten().tolist(),
            "dx": given.grad.flatten().tolist(),
            "dWeight": learned.grad.flatten().tolist(),
        })

numbers = {name: value.flatten().tolist() for name, value in
           (("x", x), ("weight", weight), ("bias", bias), ("slope", slope))}
target = Path(__file__).parent.parent / "src/quantize/fake-torch-cases.json"
target.write_text(json.dumps({"shape": [ROWS, INPUTS, OUTPUTS], **numbers, "cases": cases}, indent=1) + "\n")
