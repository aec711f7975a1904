#!/usr/bin/env python3
"""images/s of `manylens bench --engine onnx` and of Python's onnxruntime on the merged graph that `manylens export --onnx`
writes: ViT-B/16 with random weights, pictures of 224 px, all cores. Blocks of both take turns; what is printed are
medians over all blocks, and the ratios that docs/benchmarks.md bounds. Run it with onnx_vs_python.sh.
"""

import argparse
import json
import statistics
import subprocess
import time
from pathlib import Path

import numpy
import onnxruntime
from safetensors.numpy import save_file

WIDTH, DEPTH, HEADS, MLP, PATCH, SIDE, CLASSES = 768, 12, 12, 3072, 16, 224, 100
FOLDER = Path("cache/peers/vit-b16")
BATCHES = (1, 8)


def backbone_tensors(random):
    """timm's names; values that keep activations near 1."""

    def linear(name, inputs, outputs):
        spread = (3 / inputs) ** 0.5
        yield f"{name}.weight", random.uniform(-spread, spread, (outputs, inputs))
        yield f"{name}.bias", random.uniform(-0.1, 0.1, outputs)

    def norm(name):
        yield f"{name}.weight", random.uniform(0.8, 1.2, WIDTH)
        yield f"{name}.bias", random.uniform(-0.2, 0.2, WIDTH)

    spread = (3 / (3 * PATCH * PATCH)) ** 0.5
    yield "patch_embed.proj.weight", random.uniform(-spread, spread, (WIDTH, 3, PATCH, PATCH))
    yield "patch_embed.proj.bias", random.uniform(-0.1, 0.1, WIDTH)
    yield "cls_token", random.uniform(-1, 1, (1, 1, WIDTH))
    yield "pos_embed", random.uniform(-0.5, 0.5, (1, 1 + (SIDE // PATCH) ** 2, WIDTH))
    for block in range(DEPTH):
        name = f"blocks.{block}"
        yield from norm(f"{name}.norm1")
        yield from linear(f"{name}.attn.qkv", WIDTH, 3 * WIDTH)
        yield from linear(f"{name}.attn.proj", WIDTH, WIDTH)
        yield from norm(f"{name}.norm2")
        yield from linear(f"{name}.mlp.fc1", WIDTH, MLP)
        yield from linear(f"{name}.mlp.fc2", MLP, WIDTH)
    yield from norm("norm")


def adapter_tensors(random):
    """Canonical names."""

    def ssf(name):
        yield f"{name}.scale", random.uniform(0.7, 1.3, WIDTH)
        yield f"{name}.shift", random.uniform(-0.3, 0.3, WIDTH)

    def linear(name, inputs, outputs):
        yield f"{name}.scale_in", random.uniform(-0.3, 0.3, inputs)
        yield f"{name}.scale_out", random.uniform(-0.3, 0.3, outputs)
        yield f"{name}.shift", random.uniform(-0.3, 0.3, outputs)

    yield from ssf("patch_embed")
    for block in range(DEPTH):
        name = f"blocks.{block}"
        yield from ssf(f"{name}.norm1")
        for layer in ("q", "k", "v", "proj"):
            yield from linear(f"{name}.attn.{layer}", WIDTH, WIDTH)
        yield from ssf(f"{name}.norm2")
        yield from linear(f"{name}.mlp.fc1", WIDTH, MLP)
        yield from linear(f"{name}.mlp.fc2", MLP, WIDTH)
    yield from ssf("norm")
    yield "head.weight", random.uniform(-0.1, 0.1, (CLASSES, WIDTH))
    yield "head.bias", random.uniform(-0.1, 0.1, CLASSES)


def make_graph(binary):
    """A random backbone and adapter as files, and the graph of both."""
    graph = FOLDER / "merged.onnx"
    if not graph.exists():
        random = numpy.random.default_rng(1)
        FOLDER.mkdir(parents=True, exist_ok=True)
        config = {
            "hidden_size": WIDTH, "num_layers": DEPTH, "num_heads": HEADS, "mlp_dim": MLP, "patch_size": PATCH,
            "image_size": SIDE, "layer_norm_eps": 1e-6, "activation": "gelu_erf",
        }
        (FOLDER / "config.json").write_text(json.dumps(config))
        files = {"model": backbone_tensors, "adapter-tensors": adapter_tensors}
        for name, tensors in files.items():
            tensors = {key: value.astype(numpy.float32) for key, value in tensors(random)}
            save_file(tensors, FOLDER / f"{name}.safetensors")
        source, adapter = FOLDER / "adapter-tensors.safetensors", FOLDER / "adapter.out"
        labels = ",".join(map(str, range(CLASSES)))
        subprocess.run([binary, "import", "official", source, "--backbone", FOLDER, "--labels", labels, "--preprocess",
                        "vtab", "--out", adapter, "--force"], check=True)
        subprocess.run([binary, "export", "--onnx", graph, "--dialect", "fused", "--backbone", FOLDER, "--adapter",
                        adapter], check=True)
    return graph


def manylens_block(binary, rounds):
    """{(form, batch, tasks): ms of a batch} of a fresh process, and its description."""
    command = [binary, "bench", "--engine", "onnx", "--backbone", FOLDER, "--form", "merged,rescaled", "--batch",
               ",".join(map(str, BATCHES)), "--tasks", "1,8", "--rounds", str(rounds), "--json"]
    report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return {(row["form"], row["batch"], row["tasks"]): row["p50_ms"] for row in report["results"]}, report


def python_block(session, rounds):
    """{batch: ms} of this process."""
    times = {batch: [] for batch in BATCHES}
    pictures = {batch: numpy.random.default_rng(2).standard_normal((batch, 3, SIDE, SIDE), numpy.float32)
                for batch in BATCHES}
    for turn in range(rounds + 1):
        for batch in BATCHES:
            start = time.perf_counter()
            session.run(["logits"], {"pixel_values": pictures[batch]})
            if turn > 0:
                times[batch].append((time.perf_counter() - start) * 1e3)
    return {batch: statistics.median(values) for batch, values in times.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, default=Path("target/release/manylens"))
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    graph = make_graph(args.binary)
    ours, python = {}, {}
    for _ in range(args.blocks):
        # A session of its own for each block, so that its threads are gone while the other side is measured.
        session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        for batch, ms in python_block(session, args.rounds).items():
            python.setdefault(batch, []).append(ms)
        del session
        block, report = manylens_block(args.binary, args.rounds)
        for case, ms in block.items():
            ours.setdefault(case, []).append(ms)
    ours = {case: case[1] * 1e3 / statistics.median(ms) for case, ms in ours.items()}
    python = {batch: batch * 1e3 / statistics.median(ms) for batch, ms in python.items()}
    show(ours, python, report, args)


def show(ours, python, report, args):
    print(f"{report['processor']}, {report['threads']} threads, {report['kernel']}, Python onnxruntime "
          f"{onnxruntime.__version__}; medians of {args.blocks} x {args.rounds} batches\n")
    print("| images/s | batch 1 | batch 8, one task | batch 8, 8 tasks |")
    print("| --- | ---: | ---: | ---: |")
    print(f"| Python onnxruntime, merged graph | {python[1]:.2f} | {python[8]:.2f} | |")
    for form in ("merged", "rescaled"):
        values = [f"{ours[form, batch, tasks]:.2f}" for batch, tasks in ((1, 1), (8, 1), (8, 8))]
        print(f"| manylens onnx, {form} | {' | '.join(values)} |")
    bounds = [
        ("merged / Python, batch 1", ours["merged", 1, 1] / python[1], 0.95),
        ("merged / Python, batch 8", ours["merged", 8, 1] / python[8], 0.95),
        ("rescaled / merged, batch 1", ours["rescaled", 1, 1] / ours["merged", 1, 1], 0.7),
        ("rescaled / merged, batch 8", ours["rescaled", 8, 1] / ours["merged", 8, 1], 0.9),
    ]
    print("\n| ratio | measured | bound |\n| --- | ---: | ---: |")
    for name, ratio, bound in bounds:
        print(f"| {name} | {ratio:.2f} | ≥ {bound} |")


if __name__ == "__main__":
    main()
