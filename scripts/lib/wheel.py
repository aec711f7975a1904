"""Files out of PyPI wheels: fetched once with pip, checked by SHA-256, kept under cache/wheels, offline ever after."""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path


class WheelError(Exception):
    """A wheel that cannot be had, or is not the one that was pinned; the text says what to do."""


def fetch(requirement, filename, sha256, cache):
    """The path of the wheel `filename` of `requirement` ("name==version"), downloaded only when it isn't cached."""
    path = Path(cache) / "wheels" / filename
    if path.exists() and digest(path) == sha256:
        return path
    print(f"fetching {requirement} from the Python package index", file=sys.stderr)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        download(requirement, folder)
        fetched = Path(folder) / filename
        if not fetched.exists():
            found = ", ".join(sorted(p.name for p in Path(folder).iterdir())) or "nothing"
            raise WheelError(f"{requirement}: expected {filename}, the package index gave {found}")
        if (actual := digest(fetched)) != sha256:
            raise WheelError(f"{filename}: its SHA-256 is {actual}, not the pinned {sha256}; it was not kept")
        fetched.replace(path)
    return path


def download(requirement, folder):
    """Runs `pip download`, which shows its own progress bar on a terminal."""
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", str(folder), requirement]
    try:
        subprocess.run(command, check=True, stdout=sys.stderr)
    except subprocess.CalledProcessError as error:
        raise WheelError(
            f"pip could not download {requirement} (exit status {error.returncode}): see above. It needs pip "
            "(python3 -m pip; on Debian the package python3-pip) and, this first time, the network"
        ) from None


def digest(path):
    """SHA-256 of a file, in hex."""
    state = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            state.update(block)
    return state.hexdigest()


def unpack(wheel, package, prefixes, folder):
    """Puts the files of a package whose names begin so into the folder, without the package's own folders."""
    with zipfile.ZipFile(wheel) as archive:
        for path in archive.namelist():
            name = path.rpartition("/")[2]
            if path.startswith(f"{package}/") and name.startswith(tuple(prefixes)):
                with archive.open(path) as source, open(Path(folder) / name, "wb") as target:
                    shutil.copyfileobj(source, target)


def member(wheel, name):
    """The bytes of one file of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(name)
