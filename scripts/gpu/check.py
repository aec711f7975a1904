"""The rows of check.sh, the most valuable first; the JSON file is complete after each of them."""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(ROOT / "scripts/lib")]
import server

TIMEOUT = 420  # seconds that one row may take


def main():
    args = arguments()
    place = Place(args.dry_run)
    report = Report(args.out, {"dry_run": args.dry_run, "device": device(), "time_limit_minutes": args.minutes})
    deadline = time.monotonic() + 60 * args.minutes
    for name, row in rows(place):
        if time.monotonic() > deadline:
            report.add(name, {"left_out": "the time is over"})
            continue
        begun = time.monotonic()
        try:
            result = row()
        except Exception as error:  # a row that fails must not cost the others
            result = {"error": f"{type(error).__name__}: {error}"}
        report.add(name, {**result, "row_seconds": round(time.monotonic() - begun, 1)})
    return report.finish()


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dry-run", action="store_true", help="every row on the processor, with a small shape")
    parser.add_argument("--out", type=Path, default=Path("gpu-check.json"))
    parser.add_argument("--minutes", type=float, default=20, help="no row begins after that time")
    return parser.parse_args()


class Place:
    """Where things are: in an unpacked folder, or in a checkout."""

    def __init__(self, dry_run):
        packed = (HERE / "manylens").exists()
        self.dry_run = dry_run
        self.binary = HERE / "manylens" if packed else Path(os.environ.get("MANYLENS", ROOT / "target/debug/manylens"))
        self.backbone = HERE / "backbone" if packed else ROOT / "cache/models/vit-s14-focus"
        self.digits = HERE / "digits.safetensors" if packed else ROOT / "adapters/digits.safetensors"
        self.pictures = HERE / "pictures" if packed else samples(Path(tempfile.mkdtemp(prefix="manylens-pictures-")))
        listed = self.pictures / "pictures.csv"
        self.labelled = listed if listed.exists() else self.pictures
        self.provider = "cpu" if dry_run else "cuda"
        self.cache = tempfile.mkdtemp(prefix="manylens-cache-")
        self.libraries = HERE / "lib" if packed else newest(ROOT / "cache/onnxruntime")

    def engine(self, precision, *more):
        flags = ["--engine", "onnx", "--provider", self.provider, "--precision", precision, "--cache-dir", self.cache]
        return [*flags, "--onnxruntime-lib", str(self.libraries), *more]

    def precisions(self):
        return ("f32", "f16") if self.dry_run else ("f16", "bf16")

    def json(self, *command):
        done = subprocess.run(
            [str(part) for part in (self.binary, *command, "--json")], capture_output=True, text=True, timeout=TIMEOUT
        )
        if done.returncode:
            raise RuntimeError((done.stderr.strip().splitlines() or ["no message"])[0])
        return json.loads(done.stdout)


def rows(place):
    for precision in place.precisions():
        yield f"goldens and accuracy, {precision}", lambda p=precision: accuracy(place, p)
    for precision in place.precisions():
        yield f"bench, {precision}", lambda p=precision: bench(place, p)
        yield f"bench with CUDA graphs, {precision}", lambda p=precision: bench(place, p, "--onnx-cuda-graphs", "true")
    yield "PyTorch compile, bf16", lambda: torch_peer(place)
    for form in ("group", "mixed"):
        yield f"bench, {form}, {place.precisions()[0]}", lambda f=form: bench(
            place, place.precisions()[0], "--onnx-form", f
        )
    yield "training, losses beside native's", lambda: losses(place)
    for name, tf32 in (("f32", "false"), ("TF32", "true")):
        yield f"training step, {name}", lambda t=tf32: training_step(place, t)
    yield "PyTorch training step", lambda: torch_peer(place, "--train")
    yield "upload while serving", lambda: upload_while_serving(place)
    yield "1,000 adapters resident", lambda: resident(place)
    yield "TensorRT", lambda: tensorrt(place)


def accuracy(place, precision):
    """Serving refuses an adapter whose probe differs, so a server that has the task has passed its golden."""
    call = ("eval", "--backbone", place.backbone, "--data", place.labelled, place.digits)
    figures = place.json(*call, *place.engine(precision))
    reference = place.json(*call, "--engine", "native", "--precision", "f32")
    with served(place, precision) as url:
        tasks = json.loads(get(f"{url}/v1/tasks"))["tasks"]
    return {"top1": figures["top1"], "top1_native_f32": reference["top1"],
            "pictures": figures["n"], "probe_passed": [task["task"] for task in tasks]}  # fmt: skip


def bench(place, precision, *more):
    if place.dry_run:
        sizes = ["--shape", "vit-ti16", "--batch", "1,4", "--tasks", "1,4", "--rounds", "2"]
    else:
        sizes = ["--shape", "vit-b16", "--batch", "1,8,32,128", "--tasks", "1,8,64", "--rounds", "30"]
    report = place.json("bench", *sizes, "--form", "bare,rescaled", *place.engine(precision, *more))
    keep = ("form", "batch", "tasks", "images_per_second", "p50_ms", "p99_ms")
    return {"results": [{key: row.get(key) for key in keep} for row in report["results"]]}


def losses(place):
    """A few epochs on the same pictures with the same seed: what each engine's loss was."""
    result, size = {}, ("--epochs", "10", "--image-size", "112")
    with tempfile.TemporaryDirectory(prefix="manylens-train-") as folder:
        classes = class_folders(place, Path(folder) / "data")
        for name, engine in (("device", place.engine("f32")), ("native", ("--engine", "native", "--precision", "f32"))):
            out = Path(folder) / f"{name}.safetensors"
            place.json("train", "--backbone", place.backbone, "--data", classes, "--out", out, *size, *engine)
            lines = out.with_suffix(".run").joinpath("log.jsonl").read_text().splitlines()
            result[name] = [json.loads(line)["train_loss"] for line in lines]
    return {**result, "largest_difference": max(abs(a - b) for a, b in zip(*result.values()))}


def class_folders(place, folder):
    """The labelled pictures to train on; they lie in folders of their classes, or are called like them."""
    for index, path in enumerate(sorted(place.pictures.rglob("*.png"))):
        of_class = folder / (path.stem if path.parent == place.pictures else path.parent.name)
        of_class.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, of_class / f"{index}.png")
    return folder


def training_step(place, tf32):
    sizes = ("vit-ti16", "4", "2") if place.dry_run else ("vit-b16", "32", "20")
    flags = [flag for pair in zip(("--shape", "--batch", "--rounds"), sizes) for flag in pair]
    report = place.json("bench", "train", *flags, *place.engine("f32", "--onnx-tf32", tf32))
    figures = {key: report[key] for key in ("batch", "images_per_second", "p50_ms")}
    return {"results": [{"form": "training", "tasks": 1, **figures}], "device_memory_mib": device_memory()}


def torch_peer(place, *flags):
    flags = [*flags, "--dry-run"] if place.dry_run else flags
    command = [sys.executable, str(HERE / "torch_peer.py"), *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    if done.returncode:
        return {"left_out": (done.stderr.strip().splitlines() or ["no message"])[-1]}
    return json.loads(done.stdout)


def upload_while_serving(place):
    """p99 of one picture after another, without and with an upload every 100 ms."""
    picture = next(place.pictures.rglob("*.png")).read_bytes()
    adapter = place.digits.read_bytes()
    seconds = 1 if place.dry_run else 10
    with served(place, place.precisions()[0], "--versions-per-task-max", "4") as url:
        calm = latencies(url, picture, seconds)
        stop, sent = threading.Event(), []
        uploads = threading.Thread(target=upload, args=(url, adapter, stop, sent))
        uploads.start()
        busy = latencies(url, picture, seconds)
        stop.set()
        uploads.join()
        memory = device_memory()
    return {"p99_ms": p99(calm), "p99_ms_while_uploading": p99(busy), "uploads": len(sent),
            "device_memory_mib": memory}  # fmt: skip


def resident(place):
    slots, tasks = ("16", "16") if place.dry_run else ("1000", "1000")
    shape = "vit-ti16" if place.dry_run else "vit-b16"
    report = place.json("bench", "--shape", shape, "--batch", "8" if place.dry_run else "128", "--tasks", tasks,
                        "--rounds", "4", "--form", "rescaled",
                        *place.engine(place.precisions()[-1] if place.dry_run else "f16",
                                      "--onnx-form", "mixed", "--onnx-adapter-slots", slots))  # fmt: skip
    return {"results": report["results"]}


def tensorrt(place):
    if place.dry_run:
        return {"left_out": "dry run"}
    command = ["--shape", "vit-b16", "--batch", "32", "--tasks", "1", "--rounds", "30", "--form", "bare"]
    engine = place.engine("f16")
    engine[engine.index("cuda")] = "tensorrt"
    return {"results": place.json("bench", *command, *engine)["results"]}


class served:
    """A server with the digits task; answers with its URL."""

    def __init__(self, place, precision, *flags):
        self.folder = tempfile.mkdtemp(prefix="manylens-check-")
        adapters = Path(self.folder) / "adapters"
        adapters.mkdir()
        shutil.copy(place.digits, adapters / "digits.safetensors")
        flags = ["--adapters", adapters, "--shutdown-delay-ms", "0", *place.engine(precision), *flags]
        self.start = lambda: server.Server(place.binary, place.backbone, Path(self.folder) / "data", *flags)

    def __enter__(self):
        self.server = self.start().__enter__()
        return f"http://127.0.0.1:{self.server.port}"

    def __exit__(self, *failure):
        self.server.__exit__(*failure)
        shutil.rmtree(self.folder)


def get(url):
    with urllib.request.urlopen(url, timeout=30) as response:
        return response.read()


def latencies(url, picture, seconds):
    times, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.monotonic()
        request = urllib.request.Request(f"{url}/v1/tasks/digits/classify", data=picture)
        with urllib.request.urlopen(request, timeout=30) as response:
            response.read()
        times.append(1000 * (time.monotonic() - begun))
    return times


def upload(url, adapter, stop, sent):
    """The same bytes again and again: each is received, hashed and activated, the first also probed and stored."""
    while not stop.wait(0.1):
        request = urllib.request.Request(f"{url}/v1/tasks/again?activate=true", data=adapter, method="PUT")
        with urllib.request.urlopen(request, timeout=30) as response:
            sent.append(response.status)


def p99(times):
    return round(statistics.quantiles(times, n=100)[98], 2) if len(times) > 1 else None


def device():
    return query("name,driver_version,memory.total")


def device_memory():
    used = query("memory.used")
    return used and int(used.split()[0])


def query(what):
    try:
        command = ["nvidia-smi", f"--query-gpu={what}", "--format=csv,noheader"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return None


def newest(folder):
    versions = [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    return max(versions, key=lambda path: [int(n) for n in path.name.split(".") if n.isdigit()], default=folder)


def samples(folder):
    """The digits of adapters/samples, whose names are their classes, with a list of them; answers with the folder."""
    lines = ["path,label,split"]
    for picture in sorted((ROOT / "adapters/samples/digits").glob("*.png")):
        shutil.copy(picture, folder)
        lines.append(f"{picture.name},{picture.stem},test")
    (folder / "pictures.csv").write_text("\n".join(lines) + "\n")
    return folder


class Report:
    """Every row as it ends, on the screen and in the file."""

    def __init__(self, path, about):
        self.path, self.content = path, {**about, "rows": {}}

    def add(self, name, result):
        self.content["rows"][name] = result
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(self.content, indent=1) + "\n")
        part.replace(self.path)
        print(f"{name}: {summary(result)}", flush=True)

    def finish(self):
        failed = [name for name, result in self.content["rows"].items() if "error" in result]
        print(f"\n{self.path}: {len(self.content['rows'])} rows, {len(failed)} failed")
        return 1 if failed else 0


def summary(result):
    if "results" not in result:
        return ", ".join(f"{key} {value}" for key, value in result.items())
    lines = (
        f"\n    {row['form']:<9} batch {row['batch']:>3} tasks {row['tasks']:>4} "
        f"{row['images_per_second']:>9.1f} images/s  p50 {row['p50_ms']:.2f} ms"
        for row in result["results"]
    )
    return "".join(lines)


if __name__ == "__main__":
    sys.exit(main())
