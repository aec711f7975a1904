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


class View:
    """The float32 tensors of a file's bytes; `bytearray` content can be changed in place."""

    def __init__(self, content):
        self.content = content
        (size,) = struct.unpack_from("<Q", content)
        self.data_start = 8 + size
        self.entries = json.loads(bytes(content[8 : self.data_start]))

    def shape(self, name):
        return self.entries[name]["shape"]

    def get(self, name):
        """All values of a tensor, row-major."""
        values = array("f")
        values.frombytes(self.content[self._range(name)])
        return values

    def set(self, name, values):
        self.content[self._range(name)] = values.tobytes()

    def rows(self, name):
        """A matrix as a list of rows."""
        values, (count, width) = self.get(name), self.shape(name)
        return [values[row * width : (row + 1) * width] for row in range(count)]

    def _range(self, name):
        entry = self.entries[name]
        if entry["dtype"] != "F32":
            raise ValueError(f"{name} is {entry['dtype']}, not F32")
        start, end = entry["data_offsets"]
        return slice(self.data_start + start, self.data_start + end)


def rows(path, name):
    """A float32 matrix of a file as a list of rows."""
    return View(Path(path).read_bytes()).rows(name)
