"""PyTorch beside manylens: ViT-B/16, 224 px, random weights, bf16, torch.compile in mode max-autotune. Prints JSON."""

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
