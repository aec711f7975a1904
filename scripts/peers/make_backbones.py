#!/usr/bin/env python3
"""Writes tests/data/backbones: tiny random checkpoints as real timm and transformers save them, and what they answer.

Each folder holds config.json, model.safetensors and expected.safetensors: for pictures of the stored size (`a`) and of
another, oblong size (`b`), `pixels.*` [1,3,H,W] and `tokens.*` [1,N,D] after the final norm. positions.safetensors
holds one table resampled by each rule, computed by the library that defines the rule.

usage: python -m venv V && V/bin/pip install -r requirements.txt && V/bin/python make_backbones.py
"""

import json
from pathlib import Path

import numpy as np
import scipy.ndimage
import timm
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save_file

OUT = Path(__file__).resolve().parents[2] / "tests/data/backbones"
SIZES = {"a": (16, 16), "b": (24, 12)}
HF = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 16, "patch_size": 4}


def randomise(model):
    """Values that make every tensor matter, LayerScale and biases included."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model.eval()


def save(name, config, tensors, tokens):
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "model.safetensors")
    expected = {}
    with torch.no_grad():
        for key, size in SIZES.items():
            pixels = torch.randn(1, 3, *size)
            expected |= {f"pixels.{key}": pixels, f"tokens.{key}": tokens(pixels).contiguous()}
    save_file(expected, folder / "expected.safetensors")


def hugging_face(name, model_class, config, *, names, dtype=torch.float32, **run):
    """names: `saved` as save_pretrained writes them (transformers 4's), `live` as version 5 calls them."""
    model = randomise(model_class(config))
    model = model.to(dtype).float()
    backbone = getattr(model, model.base_model_prefix, model)
    if names == "saved":
        model.save_pretrained(OUT / name)
        tensors = {k: v.to(dtype) for k, v in load(OUT / name / "model.safetensors").items()}
    else:
        tensors = {k: v.to(dtype) for k, v in model.state_dict().items()}
    stated = model.config.to_dict() | {"architectures": [model_class.__name__], "dtype": str(dtype)[6:]}
    save(name, stated, tensors, lambda pixels: backbone(pixels, **run).last_hidden_state)


def load(path):
    from safetensors.torch import load_file

    return load_file(path)


def timm_model(name, args, architecture="vit_custom_patch4_16"):
    args = {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 4, "mlp_ratio": 2} | args
    built = args | ({"act_layer": "gelu_tanh"} if args.get("act_layer") else {})
    model = randomise(timm.models.VisionTransformer(**built, num_classes=3, dynamic_img_size=True))
    config = {
        "architecture": architecture,
        "num_classes": 3,
        "num_features": 16,
        "global_pool": args.get("global_pool", "token"),
        "model_args": args,
        "pretrained_cfg": {"input_size": [3, 16, 16], "mean": [0.5] * 3, "std": [0.5] * 3},
    }
    save(name, config, model.state_dict(), model.forward_features)


def resampled(table, grid, rule):
    """[h, w, D] -> [*grid, D]."""
    h, w = table.shape[:2]
    if rule == "bilinear_corners":
        zoom = (grid[0] / h, grid[1] / w, 1)
        return torch.from_numpy(scipy.ndimage.zoom(table.numpy().astype(np.float64), zoom, order=1).astype(np.float32))
    planes = table.permute(2, 0, 1)[None]
    how = {
        "bicubic_size": {"size": grid},
        "bicubic_antialias": {"size": grid, "antialias": True},
        "bicubic_offset": {"scale_factor": ((grid[0] + 0.1) / h, (grid[1] + 0.1) / w)},
    }[rule]
    return F.interpolate(planes, mode="bicubic", **how)[0].permute(1, 2, 0)


def positions():
    tensors = {}
    for stored in [(7, 7), (4, 6)]:
        table = torch.randn(*stored, 2)
        tensors[f"stored.{stored[0]}x{stored[1]}"] = table
        for grid in [(3, 3), (12, 5), (5, 12), (16, 16), (1, 1)]:
            for rule in ["bicubic_size", "bicubic_antialias", "bicubic_offset", "bilinear_corners"]:
                name = f"{rule}.{stored[0]}x{stored[1]}.{grid[0]}x{grid[1]}"
                tensors[name] = resampled(table, grid, rule).contiguous()
    OUT.mkdir(parents=True, exist_ok=True)
    save_file(tensors, OUT / "positions.safetensors")


def main():
    torch.manual_seed(0)
    T = transformers
    vit = T.ViTConfig(**HF, intermediate_size=32)
    resize = {"interpolate_pos_encoding": True}
    hugging_face("hf-vit", T.ViTForImageClassification, vit, names="saved", **resize)
    hugging_face("hf-vit-5", T.ViTModel, vit, names="live", **resize)
    gelu_new = T.ViTConfig(**HF, intermediate_size=32, hidden_act="gelu_new", qkv_bias=False, layer_norm_eps=1e-3)
    hugging_face("hf-vit-unusual", T.ViTForImageClassification, gelu_new, names="live", **resize)
    dino = T.Dinov2Config(**HF, mlp_ratio=2)
    hugging_face("hf-dinov2", T.Dinov2Model, dino, names="saved")
    hugging_face("hf-dinov2-5-bf16", T.Dinov2ForImageClassification, dino, names="live", dtype=torch.bfloat16)
    registers = T.Dinov2WithRegistersConfig(**HF, mlp_ratio=2, num_register_tokens=3)
    hugging_face("hf-dinov2-registers", T.Dinov2WithRegistersModel, registers, names="saved")
    timm_model("timm", {}, "vit_small_custom")
    timm_model("timm-registers", {"reg_tokens": 2, "init_values": 1e-1, "no_embed_class": True})
    timm_model("timm-registers-embedded", {"reg_tokens": 4})
    gap = {"class_token": False, "global_pool": "avg", "fc_norm": False, "act_layer": "gelu_tanh", "qkv_bias": False}
    timm_model("timm-gap", gap)
    positions()


if __name__ == "__main__":
    main()
