#!/usr/bin/env bash
# usage: scripts/peers/onnx_vs_python.sh [--binary FILE] [--blocks N] [--rounds N]
# The onnx engine against Python's onnxruntime on the same merged graph, ViT-B/16 with random weights, in one run.
# Needs PyPI once, for the pinned versions of onnx-requirements.txt in cache/peers/venv.
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=cache/peers/venv
[ -x $venv/bin/python ] || python3 -m venv $venv
$venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement scripts/peers/onnx-requirements.txt
scripts/onnxruntime/fetch.sh 1.32.0
exec $venv/bin/python scripts/peers/onnx_vs_python.py "$@"
