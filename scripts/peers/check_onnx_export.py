#!/usr/bin/env python3
"""Runs what `manylens export --onnx` wrote in Python's onnxruntime, and compares logits; onnx.checker looks at it too.

The pictures are the adapter file's probe. Ends with 0 when the largest difference is at most the tolerance times
max(1, largest |logit|), for the whole batch and for a single picture, and the file says what it is.

usage: python -m venv V && V/bin/pip install -r onnx-requirements.txt
       V/bin/python check_onnx_export.py FILE.onnx --adapter FILE [--tolerance 1e-4]
"""

import argparse
import json
import sys
from pathlib import Path

import numpy
import onnx
import onnxruntime
from safetensors import safe_open


def probe(adapter):
    """Normalised pictures [n,3,H,W] of the adapter file's probe, their logits, and the file's metadata."""
    with safe_open(adapter, "numpy") as file:
        metadata = file.metadata()
        pixels, logits = file.get_tensor("probe.pixels"), file.get_tensor("probe.logits")
    preprocess = json.loads(metadata["preprocess"])
    mean, std = (numpy.array(preprocess[key], numpy.float32).reshape(1, 3, 1, 1) for key in ("mean", "std"))
    return (pixels.transpose(0, 3, 1, 2).astype(numpy.float32) / 255 - mean) / std, logits, metadata


def check_metadata(session, metadata):
    """What a program needs besides the graph must be what the adapter file says."""
    found = session.get_modelmeta().custom_metadata_map
    for key in ("labels", "preprocess"):
        if json.loads(found[key]) != json.loads(metadata[key]):
            sys.exit(f"{key}: {found[key]}, but the adapter says {metadata[key]}")
    for key in ("backbone", "problem", "pooling", "position_rule"):
        if found[key] != metadata[key]:
            sys.exit(f"{key}: {found[key]}, but the adapter says {metadata[key]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--adapter", type=Path, required=True)
    parser.add_argument("--tolerance", type=float, default=1e-4)
    args = parser.parse_args()
    onnx.checker.check_model(str(args.file), full_check=True)
    domains = sorted({node.domain or "ai.onnx" for node in onnx.load(args.file, load_external_data=False).graph.node})
    session = onnxruntime.InferenceSession(args.file, providers=["CPUExecutionProvider"])
    pixels, expected, metadata = probe(args.adapter)
    check_metadata(session, metadata)
    whole = session.run(["logits"], {"pixel_values": pixels})[0]
    single = session.run(["logits"], {"pixel_values": pixels[:1]})[0]
    difference = max(abs(whole - expected).max(), abs(single - expected[:1]).max())
    largest = abs(expected).max()
    print(f"{args.file}: onnxruntime {onnxruntime.__version__}, operators of {', '.join(domains)}, {len(pixels)} pictures, "
          f"max |difference| {difference:.2e}, max |logit| {largest:.2f}")
    sys.exit(0 if difference <= args.tolerance * max(1, largest) else 1)


if __name__ == "__main__":
    main()
