"""A ViT-B/16 with random weights and an adapter for it, for scripts that measure: what the numbers are changes nothing."""

import random
import subprocess
from array import array

import tensor_file

WIDTH, DEPTH, MLP, PATCH, SIDE, CLASSES = 768, 12, 3072, 16, 224, 10
CONFIG = (
    f'{{"hidden_size":{WIDTH},"num_layers":{DEPTH},"num_heads":12,"mlp_dim":{MLP},"patch_size":{PATCH},'
    f'"image_size":{SIDE},"layer_norm_eps":1e-6,"activation":"gelu_erf"}}'
)
LINEARS = {"attn.q": (WIDTH, WIDTH), "attn.k": (WIDTH, WIDTH), "attn.v": (WIDTH, WIDTH), "attn.proj": (WIDTH, WIDTH),
           "mlp.fc1": (WIDTH, MLP), "mlp.fc2": (MLP, WIDTH)}


def backbone_shapes():
    """timm's names and shapes."""
    yield "patch_embed.proj.weight", (WIDTH, 3, PATCH, PATCH)
    yield "patch_embed.proj.bias", (WIDTH,)
    yield "cls_token", (1, 1, WIDTH)
    yield "pos_embed", (1, 1 + (SIDE // PATCH) ** 2, WIDTH)
    for block in (f"blocks.{at}" for at in range(DEPTH)):
        for norm in ("norm1", "norm2"):
            yield f"{block}.{norm}.weight", (WIDTH,)
            yield f"{block}.{norm}.bias", (WIDTH,)
        for layer, inputs, outputs in (("attn.qkv", WIDTH, 3 * WIDTH), *((k, *LINEARS[k]) for k in list(LINEARS)[3:])):
            yield f"{block}.{layer}.weight", (outputs, inputs)
            yield f"{block}.{layer}.bias", (outputs,)
    yield "norm.weight", (WIDTH,)
    yield "norm.bias", (WIDTH,)


def adapter_shapes():
    """Canonical names and shapes."""
    blocks = [f"blocks.{at}" for at in range(DEPTH)]
    for place in ("patch_embed", *(f"{block}.{norm}" for block in blocks for norm in ("norm1", "norm2")), "norm"):
        yield f"{place}.scale", (WIDTH,)
        yield f"{place}.shift", (WIDTH,)
    for block in blocks:
        for layer, (inputs, outputs) in LINEARS.items():
            yield f"{block}.{layer}.scale_in", (inputs,)
            yield f"{block}.{layer}.scale_out", (outputs,)
            yield f"{block}.{layer}.shift", (outputs,)
    yield "head.weight", (CLASSES, WIDTH)
    yield "head.bias", (CLASSES,)


def write_tensors(path, shapes, seed):
    """Small random values; large tensors repeat a block of them, each from another place: engines keep equal weights once."""
    source = random.Random(seed)
    block = array("f", (source.uniform(-0.05, 0.05) for _ in range(1 << 16))).tobytes()
    tensors = {}
    for at, (name, shape) in enumerate(shapes):
        size = 4
        for side in shape:
            size *= side
        begin = 4 * 7919 * at % len(block)
        tensors[name] = (shape, (block * (size // len(block) + 2))[begin : begin + size])
    tensor_file.write(path, tensors)


def make(binary, folder):
    """A backbone's folder and an adapter file's bytes."""
    backbone = folder / "vit-b16"
    backbone.mkdir()
    (backbone / "config.json").write_text(CONFIG)
    write_tensors(backbone / "model.safetensors", backbone_shapes(), 1)
    write_tensors(folder / "tensors.safetensors", adapter_shapes(), 2)
    labels = ",".join(map(str, range(CLASSES)))
    subprocess.run([binary, "import", "official", folder / "tensors.safetensors", "--backbone", backbone, "--labels",
                    labels, "--preprocess", "vtab", "--out", folder / "a.safetensors"], check=True, stdout=subprocess.DEVNULL)
    return backbone, (folder / "a.safetensors").read_bytes()
