#!/usr/bin/env python3
"""What HTTP costs: pictures per second through a server against the engine alone, on the same cores, in turns.

ViT-B/16 with random weights, eight tasks, batches of 8. Two bounds:
  PNGs of the final size (224 px)   HTTP >= 0.9 x the engine alone
  JPEGs of 500 x 375                HTTP >= 0.9 x cores / (engine core-seconds + decode core-seconds per picture)
and what a 12-megapixel camera JPEG costs a decode thread. The client runs on the same cores; its share is printed.
"""

import argparse
import asyncio
import io
import json
import os
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lib"))
import http1
import load
import server
import vit_b16

TASKS, CLIENTS, BATCH = 8, 32, 8
PHOTO = load.ROOT / "tests/data/preprocess/images/rocket.jpg"


def picture(size, form, seed, **options):
    """A photograph with a little noise, so that no two are alike and none is simpler than a camera's."""
    photo = Image.open(PHOTO).convert("RGB").resize(size, Image.Resampling.BICUBIC)
    noise = Image.frombytes("RGB", size, random.Random(seed).randbytes(size[0] * size[1] * 3))
    out = io.BytesIO()
    Image.blend(photo, noise, 0.04).save(out, form, **options)
    return out.getvalue()


def request(task, body):
    return http1.request("POST", f"/v1/tasks/t{task % TASKS}/classify?top_k=1", body)


def checked(response):
    if response.status != 200:
        raise SystemExit(f"{response.status} {response.body.decode()}")
    return response


def decode_ms(response):
    fields = response.headers["server-timing"].split(", ")
    return next(float(field.split("dur=")[1]) for field in fields if field.startswith("decode;"))


async def alone(port, bodies, count):
    """Decode times in ms of pictures that nothing else runs beside."""
    connection = http1.Connection(port)
    return [decode_ms(checked(await connection.send(request(at, bodies[at % len(bodies)])))) for at in range(count)]


async def saturated(port, bodies, seconds):
    """Pictures per second, closed loop, the first two seconds left out."""
    ends, begin = [], time.monotonic() + 2

    async def client(at):
        connection = http1.Connection(port)
        while time.monotonic() < begin + seconds:
            checked(await connection.send(request(at, bodies[at % len(bodies)])))
            ends.append(time.monotonic())

    await asyncio.gather(*(client(at) for at in range(CLIENTS)))
    return sum(begin < end <= begin + seconds for end in ends) / seconds


def engine(binary, backbone):
    """Pictures per second of the engine alone, batches of 8 pictures of 8 tasks."""
    command = [binary, "bench", "--backbone", backbone, "--form", "rescaled", "--batch", str(BATCH), "--tasks", str(TASKS)]
    command += ["--rounds", "7", "--json"]
    report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return report["results"][0]["images_per_second"]


def http(running, bodies, seconds):
    """(pictures per second, share of a core that this client took)."""
    wall, mine = time.monotonic(), time.process_time()
    speed = asyncio.run(saturated(running.port, bodies, seconds))
    return speed, (time.process_time() - mine) / (time.monotonic() - wall)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, default=load.ROOT / "target/release/manylens")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=10)
    args = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    pngs = [picture((224, 224), "PNG", seed) for seed in range(8)]
    jpegs = [picture((500, 375), "JPEG", seed, quality=90) for seed in range(8)]
    camera = [picture((4000, 3000), "JPEG", 0, quality=92)]
    rows = {"engine": [], "png": [], "jpeg": [], "decode": [], "client": []}
    with load.scratch() as name:
        backbone, adapter = vit_b16.make(args.binary, Path(name))
        flags = ("--batch-rows-max", BATCH)
        with server.Server(args.binary, backbone, Path(name) / "data", *flags) as running:
            for task in range(TASKS):
                asyncio.run(load.upload(running.port, f"t{task}", adapter))
            for _ in range(args.rounds):
                rows["engine"].append(engine(args.binary, backbone))
                rows["decode"] += asyncio.run(alone(running.port, jpegs, 24))
                for kind, bodies in (("png", pngs), ("jpeg", jpegs)):
                    speed, share = http(running, bodies, args.seconds)
                    rows[kind].append(speed)
                    rows["client"].append(share)
            running.forget_peak()
            before = running.resident_bytes()
            camera_ms = asyncio.run(alone(running.port, camera, 20))
            grown = running.peak_bytes() - before
    show(rows, cores, camera[0], camera_ms, grown)


def show(rows, cores, camera, camera_ms, grown):
    alone_speed, png, jpeg = (statistics.median(rows[kind]) for kind in ("engine", "png", "jpeg"))
    decode = statistics.median(rows["decode"]) / 1e3
    ideal = cores / (cores / alone_speed + decode)
    print(f"{cores} cores; the client took {statistics.median(rows['client']):.2f} of a core\n")
    print("| | pictures/s | of what is possible | bound |\n| --- | ---: | ---: | ---: |")
    print(f"| engine alone, batches of 8, 8 tasks | {alone_speed:.2f} | | |")
    print(f"| HTTP, PNG of 224 px ({len(rows['png'])} runs) | {png:.2f} | {png / alone_speed:.3f} | ≥ 0.9 |")
    print(f"| HTTP, JPEG of 500 × 375, {1e3 * decode:.2f} ms to decode | {jpeg:.2f} | {jpeg / ideal:.3f} | ≥ 0.9 |")
    print(f"\n12-megapixel JPEG ({len(camera) / 1e6:.1f} MB): decode and resize p50 {statistics.median(camera_ms):.0f} ms on one "
          f"thread, {1e3 / statistics.median(camera_ms):.1f} pictures/s and {grown / 1e6:.0f} MB at the peak per decode thread.")
    load_failed = png / alone_speed < 0.9 or jpeg / ideal < 0.9
    raise SystemExit(1 if load_failed else 0)


if __name__ == "__main__":
    main()
