#!/usr/bin/env python3
"""Random adapters on every backbone of tests/data/backbones: import, export --merged, load in real timm and
transformers, compare logits with the probe that import wrote. Ends with 0 when all agree.

usage: V/bin/python check_all.py [manylens program, default: target/debug/manylens]
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BACKBONES = ROOT / "tests/data/backbones"
WIDTH, MLP, DEPTH, CLASSES = 16, 32, 2, 3
CASES = [
    # backbone, pooling, names, picture size (stored: 16)
    ("hf-vit", "cls", "hf", 16),
    ("hf-vit", "cls", "hf", 24),
    ("hf-vit-unusual", "cls", "hf", 16),
    ("hf-dinov2", "cls_mean", "hf", 24),
    ("hf-dinov2-registers", "cls_mean", "hf", 24),
    ("hf-dinov2", "cls", "timm", 16),
    ("timm", "cls", "timm", 24),
    ("timm", "cls", "hf", 16),
    ("timm", "mean", "timm", 24),
    ("timm-registers", "cls", "timm", 24),
    ("timm-registers-embedded", "mean", "timm", 24),
    ("timm-gap", "mean", "timm", 24),
]


def adapter(pooling):
    """Canonical tensors whose every value matters."""
    tensors = {}

    def noise(name, size, center=0.0):
        tensors[name] = center + 0.2 * torch.randn(size)

    def ssf(place):
        noise(f"{place}.scale", WIDTH, 1.0)
        noise(f"{place}.shift", WIDTH)

    def linear(place, inputs, outputs):
        noise(f"{place}.scale_in", inputs)
        noise(f"{place}.scale_out", outputs)
        noise(f"{place}.shift", outputs)

    for place in ["patch_embed", "norm", *(f"blocks.{i}.norm{n}" for i in range(DEPTH) for n in (1, 2))]:
        ssf(place)
    for i in range(DEPTH):
        for layer in "qkv":
            linear(f"blocks.{i}.attn.{layer}", WIDTH, WIDTH)
        linear(f"blocks.{i}.attn.proj", WIDTH, WIDTH)
        linear(f"blocks.{i}.mlp.fc1", WIDTH, MLP)
        linear(f"blocks.{i}.mlp.fc2", MLP, WIDTH)
    tensors["head.weight"] = torch.randn(CLASSES, (2 if pooling == "cls_mean" else 1) * WIDTH)
    tensors["head.bias"] = torch.randn(CLASSES)
    return tensors


def check(program, folder, case):
    name, pooling, names, size = case
    backbone, tensors, file, merged = BACKBONES / name, folder / "in.safetensors", folder / "a.safetensors", folder / "m"
    save_file(adapter(pooling), tensors)
    imported = ["import", "official", tensors, "--backbone", backbone, "--labels", "a,b,c", "--preprocess", "vtab"]
    imported += ["--image-size", str(size), "--pooling", pooling, "--out", file, "--force"]
    exported = ["export", "--merged", merged, "--names", names, "--backbone", backbone, "--adapter", file]
    for command in (imported, exported):
        subprocess.run([program, *command], check=True, stdout=subprocess.DEVNULL)
    print(*case, end=": ", flush=True)
    compare = [sys.executable, HERE / "check_merged.py", merged, "--adapter", file]
    return subprocess.run(compare, stderr=subprocess.DEVNULL).returncode == 0


def main():
    torch.manual_seed(1)
    program = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "target/debug/manylens").resolve()
    agree = []
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            agree.append(check(program, Path(folder), case))
    print(f"{sum(agree)} of {len(agree)} agree")
    sys.exit(0 if all(agree) else 1)


if __name__ == "__main__":
    main()
