#!/usr/bin/env bash
# usage: check.sh [--dry-run] [--out FILE.json] [--minutes N]
# Checks and measures manylens on a GPU machine that has neither Rust nor a network: run it in the folder that
# assemble.sh unpacked. PyTorch's own CUDA libraries are used. --dry-run runs every row on the processor, with a small
# shape, from a checkout too (MANYLENS names the binary): its figures mean nothing.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

cuda_libraries() { # folders of the libraries that the Python packages of CUDA carry
    python3 - <<'PYTHON'
import importlib.util, pathlib

spec = importlib.util.find_spec("nvidia")
roots = spec.submodule_search_locations if spec else []
print(":".join(sorted({str(file.parent) for root in roots for file in pathlib.Path(root).rglob("lib*.so*")})))
PYTHON
}

LD_LIBRARY_PATH=$here/lib:$(cuda_libraries):${LD_LIBRARY_PATH:-}
export LD_LIBRARY_PATH
exec python3 "$here/check.py" "$@"
