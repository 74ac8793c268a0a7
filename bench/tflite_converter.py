"""What TensorFlow's own converter makes of a ViT in timm's layout, for comparison with `pqv export --format tflite`:

    python bench/tflite_converter.py FOLDER OUT.tflite [--float]

FOLDER has model.safetensors and config.json of a timm VisionTransformer (class token, LayerNorm, GELU). Without --float the
file is in dynamic-range int8. It takes and gives what timm's model does, but for images as [1, H, W, 3]. Needs tensorflow.
"""

import argparse
import json
import pathlib
import struct

import numpy as np
import tensorflow as tf


def tensors(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        body = file.read()
    header.pop("__metadata__", None)
    return {
        name: np.frombuffer(body[slice(*one["data_offsets"])], np.float32).reshape(one["shape"])
        for name, one in header.items()
    }


def vit(weights, heads, edge, patch):
    constant = {name: tf.constant(value) for name, value in weights.items()}

    def linear(x, name):
        return tf.matmul(x, constant[f"{name}.weight"], transpose_b=True) + constant[f"{name}.bias"]

    def norm(x, name):
        mean, variance = tf.nn.moments(x, -1, keepdims=True)
        scaled = (x - mean) * tf.math.rsqrt(variance + 1e-6)
        return scaled * constant[f"{name}.weight"] + constant[f"{name}.bias"]

    kernel = tf.constant(weights["patch_embed.proj.weight"].transpose(2, 3, 1, 0))
    depth = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blocks."))
    width = weights["norm.weight"].shape[0]
    dim = weights["blocks.0.attn.qkv.weight"].shape[0] // 3 // heads
    tokens = (edge // patch) ** 2 + 1

    @tf.function(input_signature=[tf.TensorSpec([1, edge, edge, 3], tf.float32)])
    def model(image):
        x = tf.nn.conv2d(image, kernel, patch, "VALID") + constant["patch_embed.proj.bias"]
        x = tf.reshape(x, [1, tokens - 1, width])
        x = tf.concat([constant["cls_token"], x], 1) + constant["pos_embed"]
        for i in range(depth):
            block = f"blocks.{i}"
            qkv = linear(norm(x, f"{block}.norm1"), f"{block}.attn.qkv")
            qkv = tf.transpose(tf.reshape(qkv, [1, tokens, 3, heads, dim]), [2, 0, 3, 1, 4])
            q, k, v = tf.unstack(qkv)
            shares = tf.nn.softmax(tf.matmul(q * dim**-0.5, k, transpose_b=True))
            context = tf.reshape(tf.transpose(tf.matmul(shares, v), [0, 2, 1, 3]), [1, tokens, heads * dim])
            x = x + linear(context, f"{block}.attn.proj")
            hidden = tf.nn.gelu(linear(norm(x, f"{block}.norm2"), f"{block}.mlp.fc1"))
            x = x + linear(hidden, f"{block}.mlp.fc2")
        return linear(norm(x, "norm")[:, 0], "head")

    return model


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--float", action="store_true")
    args = parser.parse_args()
    config = json.loads((args.folder / "config.json").read_text())
    weights = tensors(args.folder / "model.safetensors")
    edge = config["pretrained_cfg"]["input_size"][1]
    patch = weights["patch_embed.proj.weight"].shape[-1]
    heads = config["model_args"]["num_heads"]
    function = vit(weights, heads, edge, patch)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    if not args.float:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    args.out.write_bytes(converter.convert())
    print(f"{args.out}: {args.out.stat().st_size} bytes, tensorflow {tf.__version__}")


if __name__ == "__main__":
    main()
