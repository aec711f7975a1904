"""Turns the reference trainer's output into adapter files with `manylens import official`.

That folder holds, per task, <task>.adapter.safetensors (canonical tensor names) and <task>.json (image size, mean, std,
labels, …), both written by the PyTorch reference.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path


def tasks(folder):
    return sorted(path.name.split(".")[0] for path in Path(folder).glob("*.adapter.safetensors"))


def preprocess(described):
    """The `preprocess` object of an adapter, from the trainer's description."""
    return {
        "resize": described["resize"],
        "size": described["image_size"],
        "interpolation": described["interpolation"],
        "antialias": True,
        "alpha": "drop",
        "depth16": "clip",
        "mean": described["mean"],
        "std": described["std"],
        "exif": described["exif"],
    }


def import_task(binary, backbone, folder, task, out):
    """Writes the adapter file `out`."""
    described = json.loads((Path(folder) / f"{task}.json").read_text())
    with tempfile.TemporaryDirectory() as scratch:
        settings, labels = Path(scratch) / "preprocess.json", Path(scratch) / "labels.txt"
        settings.write_text(json.dumps(preprocess(described)))
        labels.write_text("".join(f"{label}\n" for label in described["labels"]))
        command = [binary, "import", "official", Path(folder) / f"{task}.adapter.safetensors", "--backbone", backbone]
        command += ["--labels", f"@{labels}", "--preprocess", settings, "--pooling", described["pooling"], "--out", out, "--force"]
        subprocess.run([str(part) for part in command], check=True, stdout=sys.stderr)
