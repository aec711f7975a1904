#!/usr/bin/env python3
"""Loads what `manylens export --merged` wrote in real timm or transformers, and compares logits.

The pictures are the adapter file's probe, or a file with `pixels` u8 [n,H,W,3] or `pixel_values` f32 [n,3,H,W]. Ends with
0 when the largest difference is at most the tolerance times max(1, largest |logit|).

usage: python -m venv V && V/bin/pip install -r requirements.txt
       V/bin/python check_merged.py FOLDER --adapter FILE [--pixels FILE [--logits FILE]] [--tolerance 1e-4]
"""

import argparse
import json
import sys
from pathlib import Path

import timm
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file


def load_model(folder):
    """The model as a user loads it, and a description; no tensor may be missing or left over."""
    config = json.loads((folder / "config.json").read_text())
    if "architecture" in config:
        model = timm.create_model(f"local-dir:{folder}", pretrained=True)
        return model.eval(), f"timm {timm.__version__}", model
    model, report = transformers.AutoModelForImageClassification.from_pretrained(folder, output_loading_info=True)
    faults = {key: found for key, found in report.items() if found}
    if faults:
        sys.exit(f"{folder}: {faults}")
    resize = {"interpolate_pos_encoding": True} if config["model_type"] == "vit" else {}
    name = f"{type(model).__name__}, transformers {transformers.__version__}"
    return model.eval(), name, lambda pixels: model(pixel_values=pixels, **resize).logits


def normalised(pixels, adapter):
    """u8 [n,H,W,3] to f32 [n,3,H,W] with the adapter's mean and deviation."""
    with safe_open(adapter, "pt") as file:
        preprocess = json.loads(file.metadata()["preprocess"])
    mean, std = (torch.tensor(preprocess[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    return (pixels.permute(0, 3, 1, 2).float() / 255 - mean) / std


def pictures(args):
    """Normalised pictures and the logits that they should give."""
    if args.pixels is None:
        tensors = load_file(args.adapter)
        return normalised(tensors["probe.pixels"], args.adapter), tensors["probe.logits"]
    tensors = load_file(args.pixels)
    pixels = tensors["pixel_values"] if "pixel_values" in tensors else normalised(tensors["pixels"], args.adapter)
    logits = load_file(args.logits or args.pixels)["logits"]
    return pixels, logits[: len(pixels)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--adapter", type=Path, required=True)
    parser.add_argument("--pixels", type=Path)
    parser.add_argument("--logits", type=Path)
    parser.add_argument("--tolerance", type=float, default=1e-4)
    args = parser.parse_args()
    pixels, expected = pictures(args)
    _, name, run = load_model(args.folder)
    with torch.no_grad():
        found = run(pixels)
    difference = (found - expected).abs().max().item()
    largest = expected.abs().max().item()
    same = (found.argmax(1) == expected.argmax(1)).sum().item()
    print(f"{args.folder}: {name}, {len(pixels)} pictures, top-1 equal {same}, "
          f"max |difference| {difference:.2e}, max |logit| {largest:.2f}")
    sys.exit(0 if difference <= args.tolerance * max(1, largest) else 1)


if __name__ == "__main__":
    main()
