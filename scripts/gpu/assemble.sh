#!/usr/bin/env bash
# usage: assemble.sh FOLDER [STORE]
# Copies the parts of FOLDER that are whole into STORE (/tmp/manylens-parts), and unpacks them to STORE/manylens-gpu once
# none is missing. Called again with other parts it goes on; exit status 3 says that parts are missing still.
set -euo pipefail
folder=${1:?usage: assemble.sh FOLDER [STORE]}
store=${2:-/tmp/manylens-parts}
mkdir -p "$store"
cp "$folder/SHA256SUMS" "$store/"
missing=0
while read -r sum name; do
    for file in "$store/$name" "$folder/$name"; do
        if [ -f "$file" ] && echo "$sum  $file" | sha256sum --check --status; then
            [ "$file" = "$store/$name" ] || cp "$file" "$store/$name"
            continue 2
        fi
    done
    echo "missing: $name"
    missing=$((missing + 1))
done <"$folder/SHA256SUMS"
[ "$missing" -eq 0 ] || exit 3
cat "$store"/part-* | tar --extract --gzip --directory "$store"
echo "$store/manylens-gpu"
