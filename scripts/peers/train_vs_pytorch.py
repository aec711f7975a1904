"""A training step of `manylens bench train` against PyTorch doing the same RLRR step, in one run: ViT-B/16 with random weights,
pictures of 224 px, AdamW, dropout growing to 0.1, threads = cores.

usage: python scripts/peers/train_vs_pytorch.py [--binary FILE] [--rounds N] [--steps N] [--batch N]
Needs torch (requirements.txt of this folder) and target/release/manylens. The sides take turns, each in a process of its own,
so that no side's threads or memory burden another. Printed are medians of all steps, medians and ranges of the rounds' ratios,
the peak memory of each process, and everything as one JSON line.
PyTorch gets the allocator settings under which it is fastest (else it spends its time on page faults). manylens leaves out the
head and the update of 0.3 million parameters, which belong to no engine; PyTorch does both.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

WIDTH, DEPTH, HEADS, MLP, PATCH, SIDE, CLASSES = 768, 12, 12, 3072, 16, 224, 100
DROPOUT = 0.1
CORES = len(os.sched_getaffinity(0))
TUNED = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}
PEERS = {"PyTorch bf16 autocast": "bf16", "PyTorch f32": "f32"}


def network(torch):
    """The paper's equations on a frozen network: W * (1 + scale_out ⊗ scale_in), bias + shift; scale and shift after norms."""
    nn, F = torch.nn, torch.nn.functional

    class Rescaled(nn.Module):
        def __init__(self, inputs, outputs):
            super().__init__()
            self.register_buffer("weight", torch.randn(outputs, inputs) / inputs**0.5)
            self.register_buffer("bias", torch.zeros(outputs))
            self.scale_in = nn.Parameter(torch.empty(1, inputs).uniform_(-1, 1) * (6 / inputs) ** 0.5)
            self.scale_out = nn.Parameter(torch.empty(outputs, 1).uniform_(-1, 1) * 6**0.5)
            self.shift = nn.Parameter(torch.zeros(outputs))

        def forward(self, x):
            return F.linear(x, self.weight + self.weight * self.scale_in * self.scale_out, self.bias + self.shift)

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(1 + 0.02 * torch.randn(WIDTH))
            self.shift = nn.Parameter(0.02 * torch.randn(WIDTH))

        def forward(self, x):
            return x * self.scale + self.shift

    class Norm(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("weight", torch.ones(WIDTH))
            self.register_buffer("bias", torch.zeros(WIDTH))
            self.then = Scaled()

        def forward(self, x):
            return self.then(F.layer_norm(x, (WIDTH,), self.weight, self.bias, 1e-6))

    class Block(nn.Module):
        def __init__(self, rate):
            super().__init__()
            self.rate, self.norm1, self.norm2 = rate, Norm(), Norm()
            self.q, self.k, self.v, self.proj = (Rescaled(WIDTH, WIDTH) for _ in range(4))
            self.fc1, self.fc2 = Rescaled(WIDTH, MLP), Rescaled(MLP, WIDTH)

        def forward(self, x):
            batch, tokens, _ = x.shape
            y = self.norm1(x)
            q, k, v = (layer(y).view(batch, tokens, HEADS, -1).transpose(1, 2) for layer in (self.q, self.k, self.v))
            y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, WIDTH)
            x = x + F.dropout(self.proj(y), self.rate)
            return x + F.dropout(self.fc2(F.gelu(self.fc1(self.norm2(x)))), self.rate)

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("embedding", torch.randn(WIDTH, 3, PATCH, PATCH) / (3 * PATCH * PATCH) ** 0.5)
            self.register_buffer("cls", torch.randn(1, 1, WIDTH))
            self.register_buffer("positions", 0.1 * torch.randn(1, 1 + (SIDE // PATCH) ** 2, WIDTH))
            self.embedded, self.norm, self.head = Scaled(), Norm(), nn.Linear(WIDTH, CLASSES)
            self.blocks = nn.ModuleList(Block(DROPOUT * i / (DEPTH - 1)) for i in range(DEPTH))

        def forward(self, pictures):
            x = self.embedded(F.conv2d(pictures, self.embedding, stride=PATCH).flatten(2).transpose(1, 2))
            x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.positions
            for block in self.blocks:
                x = block(x)
            return self.head(self.norm(x)[:, 0])

    return Network()


def pytorch_worker(precision, batch, steps):
    """Prints the times of `steps` steps after one that is not counted, and the peak memory of this process."""
    import torch

    torch.set_num_threads(CORES)
    torch.manual_seed(1)
    model = network(torch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=5e-5)
    pictures, labels = torch.randn(batch, 3, SIDE, SIDE), torch.randint(CLASSES, (batch,))
    times = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = torch.nn.functional.cross_entropy(model(pictures).float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        times.append(time.perf_counter() - start)
    assert loss.isfinite(), loss
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": times[1:], "peak_bytes": peak, "torch": torch.__version__}))


def pytorch(precision, args):
    command = [sys.executable, __file__, "--worker", precision, "--batch", str(args.batch), "--steps", str(args.steps)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=os.environ | TUNED).stdout
    report = json.loads(output)
    report["images_per_second"] = args.batch / statistics.median(report["seconds"])
    return report


def manylens(precision, args):
    command = [args.binary, "bench", "train", "--shape", "vit-b16", "--engine", "native", "--precision", precision,
               "--batch", str(args.batch), "--dropout", str(DROPOUT), "--rounds", str(args.steps),
               "--threads", str(CORES), "--json"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, default=Path("target/release/manylens"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--precision", choices=["bf16", "f32"], default="bf16", help="of manylens")
    parser.add_argument("--worker", choices=["bf16", "f32"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return pytorch_worker(args.worker, args.batch, args.steps)
    ours_name = f"manylens native {args.precision}"
    runs = {name: [] for name in (ours_name, *PEERS)}
    for _ in range(args.rounds):
        runs[ours_name].append(manylens(args.precision, args))
        for name, precision in PEERS.items():
            runs[name].append(pytorch(precision, args))
    print_table(runs, ours_name)
    print(json.dumps(runs))


def print_table(runs, ours_name):
    ours = runs[ours_name]
    print("| training step | images/s | manylens / it | range | peak memory GB |\n|---|---:|---:|---:|---:|")
    for name, reports in runs.items():
        speed = statistics.median(r["images_per_second"] for r in reports)
        ratios = sorted(o["images_per_second"] / r["images_per_second"] for o, r in zip(ours, reports))
        peak = max(r["peak_bytes"] for r in reports) / 1e9
        compared = "| |" if name == ours_name else f"{statistics.median(ratios):.2f} | {ratios[0]:.2f}–{ratios[-1]:.2f} |"
        print(f"| {name} | {speed:.2f} | {compared} {peak:.2f} |")
    share, peak = (statistics.median(r[key] for r in ours) for key in ("share_of_peak", "peak_gflops"))
    print(f"\n{ours[0]['processor']}, {CORES} threads; manylens: {ours[0]['gflop_per_image']:.1f} GFLOP a picture, "
          f"{100 * share:.0f} % of the {ours[0]['precision']} peak of {peak:.0f} GFLOP/s that the same runs measured; "
          f"PyTorch {next(iter(reversed(runs.values())))[0]['torch']}")


if __name__ == "__main__":
    main()
