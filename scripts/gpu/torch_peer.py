"""PyTorch beside manylens: ViT-B/16, 224 px, random weights, bf16, torch.compile in mode max-autotune. Prints JSON."""

import json
import statistics
import sys
import time

import torch
import torch.nn.functional as F


def main():
    dry_run = "--dry-run" in sys.argv
    device = "cpu" if dry_run else "cuda"
    torch.backends.cuda.matmul.allow_tf32 = False
    model = Vit(**(dict(width=192, depth=2, heads=3) if dry_run else dict(width=768, depth=12, heads=12)))
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


class Block(torch.nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = torch.nn.LayerNorm(width), torch.nn.LayerNorm(width)
        self.qkv, self.proj = torch.nn.Linear(width, 3 * width), torch.nn.Linear(width, width)
        self.fc1, self.fc2 = torch.nn.Linear(width, 4 * width), torch.nn.Linear(4 * width, width)

    def forward(self, x):
        n, t, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(n, t, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        x = x + self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, width))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class Vit(torch.nn.Module):
    def __init__(self, width, depth, heads):
        super().__init__()
        self.embed = torch.nn.Conv2d(3, width, 16, 16)
        self.cls = torch.nn.Parameter(torch.zeros(1, 1, width))
        self.positions = torch.nn.Parameter(torch.zeros(1, 197, width))
        self.blocks = torch.nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = torch.nn.LayerNorm(width)

    def forward(self, pixels):
        x = self.embed(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.positions
        return self.norm(self.blocks(x))[:, 0]


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
