#!/usr/bin/env bash
# usage: scripts/peers/http_vs_engine.sh [--binary FILE] [--rounds N] [--seconds N]
# What HTTP costs: throughput through a server against the engine alone, ViT-B/16 with random weights, in one run.
# Needs PyPI once, for the pinned Pillow that makes the JPEGs, in cache/peers/pillow.
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=cache/peers/pillow
[ -x $venv/bin/python ] || python3 -m venv $venv
$venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement scripts/peers/http-requirements.txt
exec $venv/bin/python scripts/peers/http_vs_engine.py "$@"
