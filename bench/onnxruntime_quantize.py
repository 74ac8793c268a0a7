"""What onnxruntime's own quantizers make of a float32 model, for bench/int8.mjs.

    onnxruntime_quantize.py MODEL FOLDER    writes NAME.onnx into the folder, prints the names

As its documentation recommends for transformers: dynamic, weights in int8 (and as it comes); static, QDQ, activations and weights in
int8 with a scale a channel, calibrated on noise, since latency does not depend on ranges.
"""

import sys
from pathlib import Path

import numpy
from onnxruntime import InferenceSession
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

model, folder = sys.argv[1], Path(sys.argv[2])


class Noise(CalibrationDataReader):
    def __init__(self):
        (given,) = InferenceSession(model).get_inputs()
        draw = numpy.random.default_rng(0)
        images = draw.standard_normal((2, *given.shape[1:])).astype(numpy.float32)
        self.feeds = iter([{given.name: image[None]} for image in images])

    def get_next(self):
        return next(self.feeds, None)


def static(target):
    options = {"quant_format": QuantFormat.QDQ, "per_channel": True}
    quantize_static(model, target, Noise(), activation_type=QuantType.QInt8, weight_type=QuantType.QInt8, **options)


WAYS = {
    "dynamic": lambda target: quantize_dynamic(model, target),
    "dynamic, a scale a channel": lambda target: quantize_dynamic(model, target, per_channel=True, weight_type=QuantType.QInt8),
    "static": static,
}
for name, make in WAYS.items():
    make(folder / f"{name}.onnx")
    print(name, flush=True)
