"""One engine that scripts/peers/cpu_peers measures, in a process of its own: ViT-B/16, 224 px, one merged model.

usage: python cpu_peer.py ort|ort-openvino|openvino-latency|openvino-throughput|torch GRAPH.onnx
Reads `BATCH ROUNDS` lines; answers each with images per second. The first line that it prints names the release.
"""

import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent / "lib"))


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
    import torch_vit

    model = torch.nn.Sequential(torch_vit.Vit(), torch.nn.Linear(768, 100)).eval().bfloat16()

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
