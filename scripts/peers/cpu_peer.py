"""One engine that scripts/peers/cpu_peers measures, in a process of its own: ViT-B/16, 224 px, one merged model.

usage: python cpu_peer.py ort|ort-openvino|openvino-latency|openvino-throughput|torch GRAPH.onnx
Reads `BATCH ROUNDS` lines; answers each with images per second. The first line that it prints names the release.
"""

import json
import statistics
import sys
import time

import numpy as np


def pixels(batch):
    return np.random.default_rng(0).standard_normal((batch, 3, 224, 224), dtype=np.float32)


def timed(run, batch, rounds):
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return batch / statistics.median(times)


def ort(graph, providers, options):
    import onnxruntime

    session = onnxruntime.InferenceSession(graph, providers=providers, provider_options=options)
    name = session.get_inputs()[0].name

    def measure(batch, rounds):
        values = pixels(batch)
        return timed(lambda: session.run(None, {name: values}), batch, rounds)

    return f"onnxruntime {onnxruntime.__version__}", measure


def openvino(graph, hint):
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": "bf16", "PERFORMANCE_HINT": hint}
    compiled = openvino.Core().compile_model(graph, "CPU", settings)
    queue = openvino.AsyncInferQueue(compiled)

    def measure(batch, rounds):
        values = pixels(batch)
        count = len(queue)

        def run():
            for _ in range(count):
                queue.start_async([values])
            queue.wait_all()

        return timed(run, batch * count, rounds)

    return f"openvino {openvino.__version__.split('-')[0]}", measure


def torch(_):
    import torch
    import torch.nn.functional as F

    width, depth, heads, mlp = 768, 12, 12, 3072

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = torch.nn.LayerNorm(width), torch.nn.LayerNorm(width)
            self.qkv, self.proj = torch.nn.Linear(width, 3 * width), torch.nn.Linear(width, width)
            self.fc1, self.fc2 = torch.nn.Linear(width, mlp), torch.nn.Linear(mlp, width)

        def forward(self, x):
            n, t, _ = x.shape
            q, k, v = self.qkv(self.norm1(x)).view(n, t, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
            x = x + self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, width))
            return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))

    class Vit(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.patch = torch.nn.Conv2d(3, width, 16, 16)
            self.cls = torch.nn.Parameter(torch.zeros(1, 1, width))
            self.positions = torch.nn.Parameter(0.02 * torch.randn(1, 197, width))
            self.blocks = torch.nn.Sequential(*(Block() for _ in range(depth)))
            self.norm, self.head = torch.nn.LayerNorm(width), torch.nn.Linear(width, 100)

        def forward(self, x):
            x = self.patch(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.positions
            return self.head(self.norm(self.blocks(x))[:, 0])

    model = Vit().eval().bfloat16()

    def measure(batch, rounds):
        values = torch.from_numpy(pixels(batch)).bfloat16()
        with torch.inference_mode():
            return timed(lambda: model(values), batch, rounds)

    return f"torch {torch.__version__}", measure


def main():
    kind, graph = sys.argv[1:]
    ov = json.dumps({"CPU": {"INFERENCE_PRECISION_HINT": "bf16", "PERFORMANCE_HINT": "LATENCY"}})
    name, measure = {
        "ort": lambda: ort(graph, ["CPUExecutionProvider"], None),
        "ort-openvino": lambda: ort(graph, ["OpenVINOExecutionProvider"], [{"device_type": "CPU", "load_config": ov}]),
        "openvino-latency": lambda: openvino(graph, "LATENCY"),
        "openvino-throughput": lambda: openvino(graph, "THROUGHPUT"),
        "torch": lambda: torch(graph),
    }[kind]()
    print(name, flush=True)
    for line in sys.stdin:
        batch, rounds = map(int, line.split())
        print(measure(batch, rounds), flush=True)


if __name__ == "__main__":
    main()
