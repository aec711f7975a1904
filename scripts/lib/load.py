"""What the load scripts share: their arguments, sample tasks, the forms of a request, and how figures are printed."""

import argparse
import base64
import tempfile
from pathlib import Path
from typing import NamedTuple

import http1

ROOT = Path(__file__).resolve().parent.parent.parent


class Task(NamedTuple):
    """A task to upload: its name on the server, an adapter file's bytes, pictures that it classifies."""

    name: str
    adapter: bytes
    pictures: list


def arguments(description, **numbers):
    """The arguments of a load script: paths, and its own numbers by name. Further ones go to `manylens serve`."""
    parser = argparse.ArgumentParser(description=description, epilog="Further flags go to `manylens serve`.")
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/manylens")
    parser.add_argument("--backbone", type=Path, default=ROOT / "cache/models/vit-s14-focus")
    parser.add_argument("--adapters", type=Path, default=ROOT / "adapters", help="folder of adapter files and samples/")
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default: {default}")
    known, flags = parser.parse_known_args()
    known.flags = flags
    return known


def tasks(folder, count):
    """`count` tasks out of the demo's adapters, which repeat under further names."""
    files = sorted(folder.glob("*.safetensors"))
    for at in range(count):
        file, turn = files[at % len(files)], at // len(files)
        pictures = [path.read_bytes() for path in sorted((folder / "samples" / file.stem).iterdir())]
        yield Task(f"{file.stem}-{turn + 1}" if turn else file.stem, file.read_bytes(), pictures)


def raw(task, picture, query):
    return http1.request("POST", f"/v1/tasks/{task}/classify?{query}", picture)


def encoded(task, pictures, query):
    """JSON with base64."""
    images = ",".join(f'"{base64.b64encode(picture).decode()}"' for picture in pictures)
    body = f'{{"images":[{images}]}}'.encode()
    return http1.request("POST", f"/v1/tasks/{task}/classify?{query}", body, [("content-type", "application/json")])


def multipart(task, pictures, query):
    parts = [
        b'--cut\r\ncontent-disposition: form-data; name="image"; filename="picture"\r\n\r\n' + picture + b"\r\n"
        for picture in pictures
    ]
    body = b"".join(parts) + b"--cut--\r\n"
    kind = ("content-type", "multipart/form-data; boundary=cut")
    return http1.request("POST", f"/v1/tasks/{task}/classify?{query}", body, [kind])


def many(names, picture, query):
    """One picture to many tasks."""
    return http1.request("POST", f"/v1/classify?tasks={','.join(names)}&{query}", picture)


async def upload(port, task, adapter, query=""):
    """PUT; the answer of a success, else SystemExit with the server's sentence."""
    response = await http1.call(port, "PUT", f"/v1/tasks/{task}?{query}", adapter)
    if response.status not in (200, 201):
        raise SystemExit(f"PUT {task}: {response.status} {response.body.decode()}")
    return response.json()


def percentile(values, share):
    """The smallest value that at least `share` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


def scratch():
    """A folder that is gone after the script."""
    return tempfile.TemporaryDirectory(prefix="manylens-load-")


class Verdicts:
    """Figures beside their bounds; `finish` ends the process with 0 only when all hold."""

    def __init__(self):
        self.failed = 0

    def check(self, holds, text):
        print(f"{'pass' if holds else 'FAIL'}  {text}", flush=True)
        self.failed += not holds

    def note(self, text):
        print(f"      {text}", flush=True)

    def finish(self):
        raise SystemExit(1 if self.failed else 0)
