"""Reads and writes .safetensors files of little-endian float32 with the standard library: 8 bytes header length, a JSON
header {name: {dtype, shape, data_offsets}}, then the data."""

import json
import struct
from array import array
from pathlib import Path


def write(path, tensors):
    """Writes {name: (shape, bytes)} in name order, under a temporary name first: a cut file never has the real name."""
    header, offset = {}, 0
    for name, (shape, data) in sorted(tensors.items()):
        end = offset + len(data)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    temporary = Path(f"{path}.partial")
    with open(temporary, "wb") as file:
        file.write(struct.pack("<Q", len(encoded)) + encoded)
        for _, (_, data) in sorted(tensors.items()):
            file.write(data)
    temporary.replace(path)


def rows(path, name):
    """A float32 matrix as a list of rows."""
    content = Path(path).read_bytes()
    (size,) = struct.unpack_from("<Q", content)
    entry = json.loads(content[8 : 8 + size])[name]
    count, width = entry["shape"]
    start, end = (8 + size + offset for offset in entry["data_offsets"])
    values = array("f")
    values.frombytes(content[start:end])
    return [values[row * width : (row + 1) * width] for row in range(count)]
