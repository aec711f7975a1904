"""The native engine against onnxruntime-openvino (bf16, LATENCY hint, one merged model) on the same cores, ViT-B/16.

usage: python native_vs_openvino.py MERGED.onnx [--binary FILE] [--pairs N]
Needs onnxruntime-openvino==1.24.1 and numpy. The graph is one that `manylens export --onnx` wrote in the plain dialect.
Both sides take turns; the medians of the pairs' ratios are printed with their range, and everything as one JSON line.
"""
import argparse, json, statistics, subprocess, time
import numpy as np
import onnxruntime as ort

parser = argparse.ArgumentParser()
parser.add_argument("graph")
parser.add_argument("--binary", default="target/release/manylens")
parser.add_argument("--pairs", type=int, default=9)
args = parser.parse_args()

CASES = [(1, 1), (8, 1), (8, 8)]


def native():
    """images/s by (batch, tasks)"""
    command = [args.binary, "bench", "--shape", "vit-b16", "--engine", "native", "--batch", "1,8", "--tasks", "1,8",
               "--rounds", "3", "--json"]
    report = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    rates = report["rates"]
    speeds = {(r["batch"], r["tasks"]): r["images_per_second"] for r in report["results"]}
    return speeds, rates["linear_gflops"] / rates["peak_gflops"], rates["peak_gflops"]


def openvino(session, name, batch, rounds):
    pixels = np.random.default_rng(0).standard_normal((batch, 3, 224, 224), dtype=np.float32)
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        session.run(None, {name: pixels})
        times.append(time.perf_counter() - start)
    return batch / statistics.median(times)


options = [{"device_type": "CPU", "load_config": json.dumps({"CPU": {"INFERENCE_PRECISION_HINT": "bf16",
                                                                      "PERFORMANCE_HINT": "LATENCY"}})}]
session = ort.InferenceSession(args.graph, providers=["OpenVINOExecutionProvider"], provider_options=options)
name = session.get_inputs()[0].name
for batch in (1, 8):
    openvino(session, name, batch, 2)
pairs = []
for pair in range(args.pairs):
    peer = {batch: openvino(session, name, batch, 3) for batch in (1, 8)}
    ours, share, peak = native()
    pairs.append({"peer": peer, "native": {f"{b}x{t}": ours[b, t] for b, t in CASES}, "share": share, "peak": peak})
print("| case | native images/s | OpenVINO images/s | ratio | range |")
print("|---|---:|---:|---:|---:|")
for batch, tasks in CASES:
    ours = [p["native"][f"{batch}x{tasks}"] for p in pairs]
    peer = [p["peer"][batch] for p in pairs]
    ratios = sorted(a / b for a, b in zip(ours, peer))
    print(f"| batch {batch}, {tasks} task{'s' * (tasks > 1)} | {statistics.median(ours):.1f} | {statistics.median(peer):.1f} "
          f"| {statistics.median(ratios):.2f} | {ratios[0]:.2f}–{ratios[-1]:.2f} |")
print(f"linear layers: {100 * statistics.median(p['share'] for p in pairs):.0f} % of the peak "
      f"({statistics.median(p['peak'] for p in pairs):.0f} GFLOP/s)")
print(json.dumps(pairs))
