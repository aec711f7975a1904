#!/usr/bin/env bash
# usage: scripts/onnxruntime/fetch.sh [VERSION…]
# Puts ONNX Runtime's library and licences into cache/onnxruntime/VERSION/. Without a version: every one that has a
# pin beside this file. The wheel's SHA-256 is checked by pip; a cached library is checked against the sum that was
# written when it was unpacked, so a second call needs no network.
set -euo pipefail
pins=$(cd "$(dirname "$0")" && pwd)
cache=$(dirname "$(dirname "$pins")")/cache/onnxruntime

is_cached() {
    [ -f "$1/SHA256SUMS" ] && (cd "$1" && sha256sum --check --status SHA256SUMS)
}

download() { # pin file, folder: the wheel of this machine's architecture, whatever Python runs pip
    local arch
    arch=$(uname -m)
    python3 -m pip download --requirement "$1" --require-hashes --no-deps --only-binary :all: --dest "$2" \
        --disable-pip-version-check --implementation cp --python-version 3.11 --abi cp311 \
        --platform "manylinux_2_27_$arch" --platform "manylinux_2_28_$arch"
}

unpack() { # folder with one wheel, folder to fill
    PYTHONPATH=$pins/../lib python3 -c 'import sys, wheel; wheel.unpack(sys.argv[1], "onnxruntime", sys.argv[3:], sys.argv[2])' \
        "$1"/*.whl "$2" libonnxruntime.so LICENSE ThirdPartyNotices
    (cd "$2" && sha256sum -- * >SHA256SUMS)
}

fetch() {
    local version=$1 pin=$pins/$1.txt folder=$cache/$1
    [ -f "$pin" ] || { echo "no pin for ONNX Runtime $version; there are: $(known)" >&2; exit 2; }
    if is_cached "$folder"; then
        echo "ONNX Runtime $version: $folder"
        return
    fi
    echo "ONNX Runtime $version: downloading its wheel"
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    mkdir -p "$scratch/wheel" "$scratch/$version" "$cache"
    if ! download "$pin" "$scratch/wheel"; then
        echo "ONNX Runtime $version could not be downloaded, and no whole copy is in $folder." >&2
        echo "Run 'make onnxruntime' where PyPI can be reached, or copy that folder from such a machine." >&2
        echo "Without it, MANYLENS_TEST_WITHOUT_ONNXRUNTIME=1 cargo test leaves the onnx engine's tests out." >&2
        exit 1
    fi
    unpack "$scratch/wheel" "$scratch/$version"
    rm -rf "$folder"
    mv "$scratch/$version" "$folder"
    rm -rf "$scratch"
    echo "ONNX Runtime $version: $folder"
}

known() {
    (cd "$pins" && printf '%s\n' *.txt | sed 's/\.txt$//' | sort --version-sort | tr '\n' ' ')
}

for version in ${*:-$(known)}; do
    fetch "$version"
done
