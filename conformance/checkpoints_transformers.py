"""Folders of Hugging Face transformers for check_checkpoints.py: small models of every type that is read."""

import json

import transformers
from judge import torch
from safetensors.torch import load_file

# `from transformers import X` hides what went wrong; the import of one of them shows it.
from transformers.models.vit.modeling_vit import ViTForImageClassification  # noqa: F401

VIT = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 50,
    "image_size": 32,
    "patch_size": 8,
    "num_labels": 5,
}
DINO = {
    **{key: value for key, value in VIT.items() if key != "intermediate_size"},
    "mlp_ratio": 3,
}
TEXT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 99}
VISION = {key: value for key, value in VIT.items() if key != "num_labels"}
SWIN = {"embed_dim": 24, "depths": [2, 2], "num_heads": [2, 4], "image_size": 64, "num_labels": 5}
PYRAMID = {
    "hidden_sizes": [8, 16, 24, 32],
    "depths": [1, 2, 1, 1],
    "num_attention_heads": [1, 2, 3, 4],
    "num_labels": 5,
}
SMALLEST = {
    "hidden_sizes": [64, 80, 96],
    "neck_hidden_sizes": [16, 16, 24, 48, 64, 80, 320],
    "expand_ratio": 2.0,
    "image_size": 64,
    "num_labels": 5,
}

logits = lambda output: output.logits
token = lambda output: output.last_hidden_state[:, 0]
pooler = lambda output: output.pooler_output
image = lambda output: output.last_hidden_state.mean((2, 3))

# Class, configuration, its arguments, and which of its outputs ours is.
CASES = [
    ("ViTForImageClassification", "ViTConfig", VIT, logits),
    ("ViTForImageClassification", "ViTConfig", {**VIT, "qkv_bias": False, "hidden_act": "gelu_new"}, logits),
    ("ViTModel", "ViTConfig", VIT, token),
    ("DeiTForImageClassificationWithTeacher", "DeiTConfig", VIT, logits),
    ("DeiTForImageClassification", "DeiTConfig", VIT, logits),
    ("BeitForImageClassification", "BeitConfig", {**VIT, "use_relative_position_bias": True}, logits),
    (
        "BeitForImageClassification",
        "BeitConfig",
        {
            **VIT,
            "use_shared_relative_position_bias": True,
            "use_absolute_position_embeddings": True,
            "use_mean_pooling": False,
        },
        logits,
    ),
    ("Dinov2Model", "Dinov2Config", DINO, pooler),
    ("Dinov2ForImageClassification", "Dinov2Config", DINO, logits),
    ("Dinov2Model", "Dinov2Config", {**DINO, "use_swiglu_ffn": True}, pooler),
    ("Dinov2WithRegistersModel", "Dinov2WithRegistersConfig", DINO, pooler),
    ("Dinov2WithRegistersForImageClassification", "Dinov2WithRegistersConfig", DINO, logits),
    ("SwinForImageClassification", "SwinConfig", {**SWIN, "window_size": 4}, logits),
    ("SwinModel", "SwinConfig", {**SWIN, "window_size": 4}, pooler),
    ("Swinv2ForImageClassification", "Swinv2Config", {**SWIN, "window_size": 4}, logits),
    (
        "Swinv2ForImageClassification",
        "Swinv2Config",
        {**SWIN, "window_size": 8, "pretrained_window_sizes": [4, 4]},
        logits,
    ),
    ("CLIPVisionModel", "CLIPVisionConfig", VISION, pooler),
    ("CLIPVisionModelWithProjection", "CLIPVisionConfig", {**VISION, "projection_dim": 12}, lambda o: o.image_embeds),
    ("CLIPForImageClassification", "CLIPConfig", {"vision_config": VISION, "text_config": TEXT, "num_labels": 5}, logits),
    ("SiglipVisionModel", "SiglipVisionConfig", VISION, pooler),
    (
        "SiglipForImageClassification",
        "SiglipConfig",
        {"vision_config": VISION, "text_config": TEXT, "num_labels": 5},
        logits,
    ),
    ("PvtV2ForImageClassification", "PvtV2Config", {**PYRAMID, "image_size": 64}, logits),
    ("PvtV2Model", "PvtV2Config", {**PYRAMID, "image_size": 64, "linear_attention": True}, image),
    ("MobileViTForImageClassification", "MobileViTConfig", SMALLEST, logits),
    ("MobileViTModel", "MobileViTConfig", SMALLEST, pooler),
    ("SegformerForImageClassification", "SegformerConfig", {**PYRAMID, "image_size": 64}, logits),
    ("SegformerModel", "SegformerConfig", {**PYRAMID, "image_size": 64}, image),
]


def preprocessor(size):
    return {
        "do_resize": True,
        "size": {"height": size, "width": size},
        "resample": 2,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.4, 0.3],
        "image_std": [0.2, 0.3, 0.4],
    }


def cases(root, generator, randomized, Case):
    made = []
    for number, (model_name, config_name, args, result) in enumerate(CASES):
        labels = {"id2label": {i: f"label {i}" for i in range(args.get("num_labels", 0))}} if "num_labels" in args else {}
        args = {key: value for key, value in args.items() if key != "num_labels" or not labels}
        config = getattr(transformers, config_name)(**args, **labels)
        model = randomized(getattr(transformers, model_name)(config), generator)
        folder = root / f"transformers{number}"
        model.save_pretrained(folder)
        size = args.get("image_size", args.get("vision_config", {}).get("image_size"))
        (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor(size)))
        pixels = torch.randn(2, 3, size, size, generator=generator)
        label = f"{model_name} {number}"
        made.append(Case(label, folder, pixels, result(model(pixel_values=pixels)), check=checked(labels if "Classif" in model_name else {})))
    return made + others(root, generator, randomized, Case)


def checked(labels):
    def check(answer):
        info = answer["info"]
        names = list(labels["id2label"].values()) if labels else None
        preprocessing = info["preprocessing"]
        return (
            info.get("classNames") == names
            and preprocessing["mean"] == [0.5, 0.4, 0.3]
            and preprocessing["interpolation"] == "bilinear"
            and "preprocessingFrom" not in info
        )

    return check


def others(root, generator, randomized, Case):
    """A pickle, another size, a segmenter whose decoder is left over, channels in the opposite order."""
    model = randomized(transformers.ViTForImageClassification(transformers.ViTConfig(**VIT)), generator)
    pixels = torch.randn(1, 3, 48, 64, generator=generator)
    folder = root / "pickled"
    model.save_pretrained(folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assumed = lambda answer: answer["info"].get("preprocessingFrom") == "assumed"
    expected = model(pixel_values=pixels, interpolate_pos_encoding=True).logits
    made = [Case("ViT at 48x64, pickled", folder, pixels, expected, input_size=[3, 48, 64], check=assumed)]

    config = transformers.SegformerConfig(**PYRAMID)
    model = randomized(transformers.SegformerForSemanticSegmentation(config), generator)
    model.save_pretrained(root / "segmenter")
    pixels = torch.randn(1, 3, 64, 64, generator=generator)
    said = lambda answer: any("left over: decode_head" in note for note in answer["notes"])
    expected = image(model.segformer(pixel_values=pixels))
    made.append(
        Case("SegFormer's encoder", root / "segmenter", pixels, expected, input_size=[3, 64, 64], check=said)
    )

    model = randomized(transformers.MobileViTForImageClassification(transformers.MobileViTConfig(**SMALLEST)), generator)
    model.save_pretrained(root / "flipped")
    flipped = {**preprocessor(64), "do_flip_channel_order": True, "do_normalize": False}
    (root / "flipped" / "preprocessor_config.json").write_text(json.dumps(flipped))
    expected = model(pixel_values=pixels.flip(1)).logits
    made.append(Case("MobileViT, blue before red", root / "flipped", pixels, expected))
    return made
