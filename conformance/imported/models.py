"""The models of the corpus: one of each of timm's modules, and transformers' vision models, made small.

A model is made by its own library with everything random, narrow and shallow and for small images, so that a
file has less than 3 MB and its architecture still has every kind of block. `build(case, fused)` gives the same
weights whether attention is one fused operator or written out.
"""

import importlib
from dataclasses import dataclass, field
from typing import Any, Callable

from judge import randomized, timm, torch

CLASSES = 10


@dataclass(frozen=True)
class Case:
    """`name` is timm's module, or `hf_` and transformers' model_type; `make(fused)` gives the model."""

    name: str
    make: Callable[[bool], torch.nn.Module]
    input: tuple[int, int, int]
    outputs: tuple[str, ...] = ("logits",)
    # timm's name and the arguments that make the same model, for those who build it natively.
    architecture: str | None = None
    args: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


def build(case: Case, fused: bool) -> torch.nn.Module:
    torch.manual_seed(0)
    model = case.make(fused)
    return randomized(model, torch.Generator().manual_seed(1))


def timm_case(module: str, architecture: str, size: int = 64, sized: bool = True, creator: str = "", **args) -> Case:
    """`sized`: the model takes `img_size`. `creator` is what the entry point calls, where that fixes the widths."""
    args = {"num_classes": CLASSES, **({"img_size": size} if sized else {}), **args}

    def make(fused: bool) -> torch.nn.Module:
        timm.layers.set_fused_attn(fused)
        given = {key: made(key, value) for key, value in args.items()}
        if creator:
            return getattr(importlib.import_module(f"timm.models.{module}"), creator)(architecture, **given)
        return timm.create_model(architecture, **given)

    return Case(module, make, (3, size, size), architecture=architecture, args=args)


def made(key: str, value: Any) -> Any:
    """Arguments that timm takes as objects only."""
    if key == "embed_cfg":
        from timm.models.vitamin import VitCfg, VitConvCfg

        return VitCfg(**{**value, "conv_cfg": VitConvCfg(**value["conv_cfg"])})
    return value


def mvitv2() -> Case:
    """timm's entry points fix the widths of an MViTv2, so its class is called."""

    def make(fused: bool) -> torch.nn.Module:
        from timm.models.mvitv2 import MultiScaleVit, MultiScaleVitCfg

        timm.layers.set_fused_attn(fused)
        cfg = MultiScaleVitCfg(depths=(1, 2, 1), embed_dim=24, stride_q=((1, 1), (2, 2), (2, 2)))
        return MultiScaleVit(cfg, img_size=(64, 64), num_classes=CLASSES)

    fields = {
        **dict(depths=[1, 2, 1], embed_dim=[24, 48, 96], num_heads=[1, 2, 4], mlp_ratio=4.0),
        **dict(pool_first=False, expand_attn=True, qkv_bias=True, use_cls_token=False, use_abs_pos=False),
        **dict(residual_pooling=True, mode="conv", kernel_qkv=[3, 3], stride_q=[[1, 1], [2, 2], [2, 2]]),
        **dict(stride_kv=[[4, 4], [2, 2], [1, 1]], stride_kv_adaptive=[4, 4], patch_kernel=[7, 7]),
        **dict(patch_stride=[4, 4], patch_padding=[3, 3], pool_type="max", rel_pos_type="spatial"),
        **dict(act_layer="gelu", norm_layer="layernorm", norm_eps=1e-6),
    }
    args = dict(
        num_classes=CLASSES, img_size=[64, 64], model_cfg=dict(dataclass="MultiScaleVitCfg", fields=fields)
    )
    return Case("mvitv2", make, (3, 64, 64), architecture="mvitv2_tiny", args=args)


def transformers_case(
    model_type: str, config_class: str, model_class: str, size=64, outputs=("logits",), **config
) -> Case:
    def make(fused: bool) -> torch.nn.Module:
        import transformers

        base = getattr(transformers, model_class)

        class Named(base):
            """The model with the outputs that are exported, in their order; parameters keep their names."""

            def forward(self, pixel_values):
                given = super().forward(pixel_values)
                return tuple(given[name] for name in outputs)

        attention = "sdpa" if fused and base._supports_sdpa else "eager"
        return Named(getattr(transformers, config_class)(**config, attn_implementation=attention))

    return Case(f"hf_{model_type}", make, (3, size, size), outputs=tuple(outputs))


CASES = [
    timm_case("vision_transformer", "vit_tiny_patch16_224",  depth=2, embed_dim=48, num_heads=3),
    timm_case("deit", "deit_tiny_distilled_patch16_224",  depth=2, embed_dim=48, num_heads=3),
    timm_case(
        "swin_transformer", "swin_tiny_patch4_window7_224", 56, embed_dim=24, depths=[2, 2], num_heads=[2, 4]
    ),
    timm_case("pvt_v2", "pvt_v2_b0", sized=False, depths=[1, 1, 1, 1], embed_dims=[16, 32, 48, 64], num_heads=[1, 2, 3, 4]),
    timm_case("eva", "eva02_tiny_patch14_224", 56, depth=2, embed_dim=48, num_heads=3),
    timm_case("beit", "beit_base_patch16_224",  depth=2, embed_dim=48, num_heads=3),
    timm_case("cait", "cait_xxs24_224",  depth=2, embed_dim=48, num_heads=3),
    timm_case(
        "swin_transformer_v2",
        "swinv2_tiny_window8_256", 
        embed_dim=24,
        depths=[2, 2],
        num_heads=[2, 4],
    ),
    timm_case(
        "swin_transformer_v2_cr",
        "swinv2_cr_tiny_224", 
        embed_dim=24,
        depths=[2, 2],
        num_heads=[2, 4],
        window_size=4,
    ),
    timm_case(
        "vision_transformer_hybrid", "vit_tiny_r_s16_p8_224",  depth=1, embed_dim=48, num_heads=3
    ),
    timm_case(
        "vision_transformer_relpos",
        "vit_relpos_small_patch16_224", 
        depth=2,
        embed_dim=48,
        num_heads=3,
    ),
    timm_case("xcit", "xcit_nano_12_p16_224",  depth=2, embed_dim=64, num_heads=4),
    timm_case(
        "levit",
        "levit_128s", 
        embed_dim=[32, 48, 64],
        num_heads=[2, 3, 4],
        key_dim=16,
        depth=[1, 1, 1],
    ),
    timm_case(
        "crossvit",
        "crossvit_tiny_240",
        48,
        embed_dim=[32, 64],
        num_heads=[2, 4],
        depth=[[1, 2, 0], [1, 1, 0]],
        img_scale=[1.0, 0.67],
        patch_size=[12, 16],
    ),
    timm_case("pit", "pit_ti_224",  base_dims=[16, 16, 16], heads=[2, 4, 8], depth=[1, 1, 1]),
    timm_case("mobilevit", "mobilevit_xxs", sized=False, width_factor=0.5),
    timm_case(
        "tiny_vit",
        "tiny_vit_5m_224", sized=False,
        embed_dims=[16, 32, 40, 64],
        num_heads=[1, 2, 5, 4],
        depths=[1, 1, 1, 1],
        window_sizes=[4, 4, 4, 2],
    ),
    timm_case(
        "twins",
        "twins_pcpvt_small", 
        depths=[1, 1, 1, 1],
        embed_dims=[16, 32, 48, 64],
        num_heads=[1, 2, 3, 4],
    ),
    timm_case("visformer", "visformer_tiny",  embed_dim=48, depth=[1, 1, 1], init_channels=8),
    timm_case("fastvit", "fastvit_sa12", sized=False, layers=[1, 1, 1, 1], embed_dims=[8, 16, 32, 64]),
    timm_case("repvit", "repvit_m0_9", sized=False, embed_dim=[16, 24, 32], depth=[1, 2, 1]),
    timm_case(
        "efficientformer", "efficientformer_l1", 224, sized=False, embed_dims=[8, 16, 24, 32], depths=[1, 1, 1, 2]
    ),
    timm_case(
        "efficientformer_v2",
        "efficientformerv2_s0", 
        embed_dims=[8, 16, 24, 32],
        depths=[1, 1, 2, 2],
        mlp_ratios=4,
    ),
    timm_case(
        "maxxvit",
        "maxvit_rmlp_pico_rw_256", 
        embed_dim=[16, 32, 48, 64],
        depths=[1, 1, 1, 1],
        stem_width=[8, 16],
        transformer_dim_head=16,
        transformer_rel_pos_dim=16,
        transformer_window_size=2,
    ),
    timm_case(
        "davit", "davit_tiny", sized=False, depths=[1, 1, 1], embed_dims=[16, 32, 48], num_heads=[1, 2, 3], window_size=4
    ),
    timm_case(
        "hiera",
        "hiera_tiny_224", 
        embed_dim=24,
        stages=[1, 1, 1],
        q_pool=2,
        mask_unit_size=[4, 4],
        mask_unit_attn=[True, True, False],
    ),
    mvitv2(),
    timm_case(
        "coat",
        "coat_lite_tiny", 
        embed_dims=[16, 32, 48, 64],
        serial_depths=[1, 1, 1, 1],
        num_heads=8,
        mlp_ratios=[4, 4, 4, 4],
    ),
    timm_case(
        "nest",
        "nest_tiny", creator="_create_nest", 
        embed_dims=[24, 32, 48],
        num_heads=[2, 4, 4],
        depths=[1, 1, 1],
    ),
    timm_case(
        "gcvit",
        "gcvit_xxtiny", creator="_create_gcvit", 
        embed_dim=16,
        depths=[1, 1, 1, 1],
        num_heads=[2, 4, 4, 8],
        window_size=[4, 4, 4, 2],
    ),
    timm_case(
        "efficientvit_mit",
        "efficientvit_b0", sized=False,
        widths=[8, 16, 32, 48, 64],
        depths=[1, 1, 1, 1, 1],
        head_widths=[96, 128],
    ),
    timm_case(
        "efficientvit_msra",
        "efficientvit_m0",
        128,
        embed_dim=[32, 48, 64],
        depth=[1, 1, 1],
        num_heads=[2, 3, 4],
        window_size=[4, 4, 4],
    ),
    timm_case("edgenext", "edgenext_xx_small", sized=False, dims=[16, 32, 48, 64], depths=[1, 2, 2, 1], heads=[4, 4, 4, 4]),
    timm_case("swiftformer", "swiftformer_xs", sized=False, layers=[1, 1, 1, 1], embed_dims=[16, 24, 32, 48]),
    timm_case(
        "shvit", "shvit_s1", 128, sized=False, embed_dim=[32, 48, 64], partial_dim=[8, 12, 16], depth=[1, 1, 1]
    ),
    timm_case(
        "volo",
        "volo_d1_224", creator="_create_volo", 
        layers=[1, 1, 1, 1],
        embed_dims=[24, 48, 48, 48],
        num_heads=[2, 4, 4, 4],
        stem_hidden_dim=16,
    ),
    timm_case("convit", "convit_tiny",  embed_dim=12, depth=3, num_heads=4, local_up_to_layer=2),
    timm_case(
        "tnt",
        "tnt_s_patch16_224", 
        embed_dim=48,
        inner_dim=16,
        depth=2,
        num_heads_outer=3,
        num_heads_inner=4,
    ),
    timm_case("nextvit", "nextvit_small", sized=False, depths=[1, 1, 5, 1]),
    timm_case(
        "vitamin",
        "vitamin_small_224", 
        embed_dim=48,
        depth=2,
        num_heads=3,
        embed_cfg=dict(
            embed_dim=[16, 24, 48],
            depths=[1, 1, 1],
            stem_width=16,
            conv_cfg=dict(norm_layer="layernorm2d", norm_eps=1e-6),
            head_type="1d",
        ),
    ),
]

ENCODER = dict(
    hidden_size=48, num_hidden_layers=2, num_attention_heads=3, intermediate_size=96, image_size=64, patch_size=16
)
DINO = dict(hidden_size=48, num_hidden_layers=2, num_attention_heads=3, image_size=56, patch_size=14, num_labels=CLASSES)
SWIN = dict(image_size=56, embed_dim=24, depths=[2, 2], num_heads=[2, 4], window_size=7, num_labels=CLASSES)

CASES += [
    transformers_case("vit", "ViTConfig", "ViTForImageClassification", **ENCODER, num_labels=CLASSES),
    transformers_case(
        "deit",
        "DeiTConfig",
        "DeiTForImageClassificationWithTeacher",
        outputs=("logits", "cls_logits", "distillation_logits"),
        **ENCODER,
        num_labels=CLASSES,
    ),
    transformers_case(
        "beit", "BeitConfig", "BeitForImageClassification", **ENCODER, num_labels=CLASSES, use_relative_position_bias=True
    ),
    transformers_case("dinov2", "Dinov2Config", "Dinov2ForImageClassification", 56, **DINO),
    transformers_case(
        "dinov2_with_registers", "Dinov2WithRegistersConfig", "Dinov2WithRegistersForImageClassification", 56, **DINO
    ),
    transformers_case("swin", "SwinConfig", "SwinForImageClassification", 56, **SWIN),
    transformers_case(
        "swinv2", "Swinv2Config", "Swinv2ForImageClassification", 64, **{**SWIN, "image_size": 64, "window_size": 4}
    ),
    transformers_case(
        "siglip", "SiglipVisionConfig", "SiglipVisionModel", outputs=("last_hidden_state", "pooler_output"), **ENCODER
    ),
    transformers_case(
        "clip", "CLIPVisionConfig", "CLIPVisionModel", outputs=("last_hidden_state", "pooler_output"), **ENCODER
    ),
    transformers_case(
        "pvt_v2",
        "PvtV2Config",
        "PvtV2ForImageClassification",
        image_size=64,
        depths=[1, 1, 1, 1],
        hidden_sizes=[16, 32, 48, 64],
        num_attention_heads=[1, 2, 3, 4],
        num_labels=CLASSES,
    ),
    transformers_case(
        "mobilevit",
        "MobileViTConfig",
        "MobileViTForImageClassification",
        image_size=64,
        hidden_sizes=[32, 48, 64],
        neck_hidden_sizes=[8, 16, 24, 32, 48, 64, 96],
        num_labels=CLASSES,
    ),
    transformers_case(
        "segformer",
        "SegformerConfig",
        "SegformerForSemanticSegmentation",
        depths=[1, 1, 1, 1],
        hidden_sizes=[16, 32, 48, 64],
        num_attention_heads=[1, 2, 3, 4],
        decoder_hidden_size=48,
        num_labels=CLASSES,
    ),
    transformers_case(
        "yolos",
        "YolosConfig",
        "YolosForObjectDetection",
        outputs=("logits", "pred_boxes"),
        **{**ENCODER, "image_size": [64, 64]},
        num_detection_tokens=8,
        num_labels=CLASSES,
    ),
]
