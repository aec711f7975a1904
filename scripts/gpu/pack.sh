#!/usr/bin/env bash
# usage: scripts/gpu/pack.sh [FOLDER] [--binary FILE] [--pictures FOLDER]
# Makes what a bare GPU machine lacks: our binary for glibc 2.28, ONNX Runtime with its CUDA provider, the demo backbone
# with its digits adapter and labelled test pictures, and the scripts that check them. FOLDER (cache/gpu/parts) then
# holds parts of at most 30 MiB, their sums, and assemble.sh, which puts what is there together, over several calls if
# need be. The backbone travels as it is: rounded to f16 it would be another one, of another fingerprint; graphs round
# it there. --binary packs that binary instead of building one. Needs PyPI and crates once, and `make demo`'s backbone.
set -euo pipefail
cd "$(dirname "$0")/../.."

parts=cache/gpu/parts
binary=
pictures=
while [ $# -gt 0 ]; do
    case $1 in
        --binary) binary=${2:?--binary needs a file}; shift 2 ;;
        --pictures) pictures=${2:?--pictures needs a folder}; shift 2 ;;
        -*) echo "usage: scripts/gpu/pack.sh [FOLDER] [--binary FILE] [--pictures FOLDER]" >&2; exit 2 ;;
        *) parts=$1; shift ;;
    esac
done
part_bytes=$((30 * 1024 * 1024))
backbone=cache/models/vit-s14-focus
tools=cache/gpu/tools
wheels=cache/gpu/wheels
pin=scripts/gpu/onnxruntime-gpu.txt

[ -f "$backbone/model.safetensors" ] || { echo "$backbone is not there; run 'make demo' once" >&2; exit 1; }

build() { # sets `binary`
    local target=x86_64-unknown-linux-gnu
    [ -x "$tools/bin/cargo-zigbuild" ] || {
        python3 -m venv "$tools"
        "$tools/bin/pip" install --quiet --disable-pip-version-check cargo-zigbuild==0.24.1 ziglang==0.17.1
    }
    # cargo-zigbuild finds zig as Python's module, through the python3 that is first in the path.
    PATH=$PWD/$tools/bin:$PATH cargo zigbuild --release --locked --target "$target.2.28"
    binary=${CARGO_TARGET_DIR:-target}/$target/release/manylens
}

fetch_runtime() { # the wheel of the machine's CPython does not matter: its libraries alone are taken
    ls "$wheels"/onnxruntime_gpu-*.whl >/dev/null 2>&1 && return
    python3 -m pip download --quiet --disable-pip-version-check --requirement "$pin" --require-hashes --no-deps \
        --only-binary :all: --implementation cp --python-version 3.12 --abi cp312 --dest "$wheels" \
        --platform manylinux_2_27_x86_64 --platform manylinux_2_28_x86_64
}

unpack_runtime() { # folder
    PYTHONPATH=scripts/lib python3 -c 'import sys, wheel; wheel.unpack(sys.argv[1], "onnxruntime", sys.argv[3:], sys.argv[2])' \
        "$wheels"/onnxruntime_gpu-*.whl "$1" libonnxruntime.so libonnxruntime_providers_ LICENSE ThirdPartyNotices
}

[ -n "$binary" ] || build
fetch_runtime
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
pack=$scratch/manylens-gpu
mkdir -p "$pack/lib" "$pack/backbone"
install -m 755 "$binary" "$pack/manylens"
unpack_runtime "$pack/lib"
cp "$backbone"/* "$pack/backbone/"
cp adapters/digits.safetensors "$pack/"
if [ -n "$pictures" ]; then
    cp -r "$pictures" "$pack/pictures"
else
    mkdir "$pack/pictures"
    PYTHONPATH=scripts/gpu python3 -c 'import pathlib, sys, check; check.samples(pathlib.Path(sys.argv[1]))' "$pack/pictures"
fi
cp scripts/gpu/check.sh scripts/gpu/check.py scripts/gpu/torch_peer.py scripts/lib/server.py \
    scripts/lib/torch_vit.py "$pack/"

rm -rf "$parts"
mkdir -p "$parts"
tar --create --sort=name --owner=0 --group=0 --mtime=@0 --directory "$scratch" manylens-gpu |
    gzip -6 | split --bytes=$part_bytes --numeric-suffixes --suffix-length=2 - "$parts/part-"
cp scripts/gpu/assemble.sh "$parts/"
(cd "$parts" && sha256sum -- part-* >SHA256SUMS)
echo "$(find "$parts" -name 'part-*' | wc -l) parts, $(du -sh "$parts" | cut -f1), in $parts"
