"""PyTorch beside manylens: ViT-B/16, 224 px, random weights, bf16, torch.compile in mode max-autotune. Prints JSON.

--train measures a step instead: forward, and backward to the scales of every linear, W * (1 + scale_out ⊗ scale_in)."""

import json
import statistics
import sys
import time
from pathlib import Path

import torch

# In a checkout; an unpacked folder has it beside this file.
sys.path.append(str(Path(__file__).resolve().parent.parent / "lib"))
from torch_vit import Vit


def main():
    dry_run = "--dry-run" in sys.argv
    device = "cpu" if dry_run else "cuda"
    torch.backends.cuda.matmul.allow_tf32 = False
    model = Vit(width=192, depth=2, heads=3) if dry_run else Vit()
    model = model.to(device, torch.bfloat16).eval()
    if "--train" in sys.argv:
        print(json.dumps({"torch": torch.__version__, "results": training(model.float(), device, dry_run)}))
        return
    run = model if dry_run else torch.compile(model, mode="max-autotune")
    results = []
    with torch.inference_mode():
        for batch in (1, 2) if dry_run else (1, 8, 32, 128):
            times = measured(run, torch.randn(batch, 3, 224, 224, device=device, dtype=torch.bfloat16), device)
            median = statistics.median(times)
            row = {"form": "torch", "batch": batch, "tasks": 1, "images_per_second": batch / median}
            results.append({**row, "p50_ms": 1000 * median})
    peak = None if dry_run else matrix_peak()
    print(json.dumps({"torch": torch.__version__, "matrix_peak_tflops": peak, "results": results}))


def training(model, device, dry_run):
    batch = 2 if dry_run else 32
    frozen = {name: value.detach() for name, value in model.named_parameters()}
    linear = [name for name, value in frozen.items() if name.endswith("weight") and value.dim() == 2]
    scales = {name: scale_vectors(frozen[name]) for name in linear}
    pixels = torch.randn(batch, 3, 224, 224, device=device)

    def forward(pixels):
        rescaled = {name: frozen[name] * (1 + out * into) for name, (out, into) in scales.items()}
        return torch.func.functional_call(model, {**frozen, **rescaled}, (pixels,))

    forward = forward if dry_run else torch.compile(forward)
    results = []
    for form, tf32, narrow in (("torch f32", False, False), ("torch tf32", True, False), ("torch bf16", False, True)):
        torch.backends.cuda.matmul.allow_tf32 = tf32

        def step(pixels, narrow=narrow):
            with torch.autocast(device, torch.bfloat16, enabled=narrow):
                features = forward(pixels)
            torch.autograd.grad(features.float().square().mean(), [scale for pair in scales.values() for scale in pair])

        median = statistics.median(measured(step, pixels, device))
        row = {"form": form, "batch": batch, "tasks": 1, "images_per_second": batch / median}
        results.append({**row, "p50_ms": 1000 * median})
    return results


def scale_vectors(weight):
    outputs, inputs = weight.shape
    sides = ((outputs, 1), (1, inputs))
    return [(0.02 * torch.randn(side, device=weight.device)).requires_grad_() for side in sides]


def measured(run, pixels, device, rounds=30):
    for _ in range(2 if device == "cpu" else 10):
        run(pixels)
    times = []
    for _ in range(3 if device == "cpu" else rounds):
        synchronize(device)
        begun = time.perf_counter()
        run(pixels)
        synchronize(device)
        times.append(time.perf_counter() - begun)
    return times


def matrix_peak(side=8192):
    """What the device's bf16 products reach."""
    a, b = (torch.randn(side, side, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    times = measured(lambda _: a @ b, None, "cuda")
    return 2 * side**3 / statistics.median(times) / 1e12


def synchronize(device):
    if device == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
