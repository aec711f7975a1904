"""Tests of the scripts' own code: python3 -m unittest discover scripts/lib"""

import json
import struct
import tempfile
import unittest
import zipfile
from array import array
from pathlib import Path

import load
import onnx_file
import tensor_file
import variants
import wheel


def field(number, value):
    """One protobuf field, as onnx_file must read it."""
    if isinstance(value, int):
        return bytes([number << 3]) + varint(value)
    return bytes([number << 3 | 2]) + varint(len(value)) + value


def varint(value):
    out = b""
    while value >= 0x80:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


class OnnxFile(unittest.TestCase):
    def test_weights_and_names_are_found(self):
        data = array("f", range(6)).tobytes()
        tensor = field(1, 2) + field(1, 3) + field(2, 1) + field(8, b"w") + field(9, data)
        node = field(1, b"x") + field(1, b"w") + field(3, b"/layer/MatMul") + field(4, b"MatMul")
        model = field(1, 9) + field(2, b"producer " * 40) + field(7, field(1, node) + field(5, tensor))
        nodes, tensors = onnx_file.read(model)
        self.assertEqual(nodes, [onnx_file.Node("/layer/MatMul", "MatMul", ["x", "w"])])
        self.assertEqual((tensors["w"].shape, bytes(tensors["w"].data)), ((2, 3), data))

    def test_a_cut_file_and_a_wrong_size_are_errors(self):
        tensor = field(1, 4) + field(2, 1) + field(8, b"w") + field(9, bytes(16))
        model = field(7, field(5, tensor))
        with self.assertRaisesRegex(ValueError, "cut short"):
            onnx_file.read(model[:-1])
        with self.assertRaisesRegex(ValueError, "w: 12 bytes"):
            onnx_file.read(field(7, field(5, field(1, 4) + field(2, 1) + field(8, b"w") + field(9, bytes(12)))))


class TensorFile(unittest.TestCase):
    def test_what_is_written_is_read(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "t.safetensors"
            tensor_file.write(path, {"b": ((2, 2), array("f", [1, 2, 3, 4]).tobytes()), "a": ((1,), bytes(4))})
            content = path.read_bytes()
            (size,) = struct.unpack_from("<Q", content)
            self.assertEqual(size % 8, 0)
            self.assertEqual(list(json.loads(content[8 : 8 + size])), ["a", "b"])
            self.assertEqual([list(row) for row in tensor_file.rows(path, "b")], [[1, 2], [3, 4]])
            self.assertEqual([p.name for p in Path(folder).iterdir()], ["t.safetensors"])


class Variants(unittest.TestCase):
    def test_a_variant_moves_bias_and_probe_alike(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "t.safetensors"
            bias, probe = array("f", [1, 2, 3]), array("f", [4, 5, 6, 7, 8, 9])
            tensor_file.write(path, {"head.bias": ((3,), bias.tobytes()), "probe.logits": ((2, 3), probe.tobytes())})
            content = path.read_bytes()
        self.assertEqual(variants.variant(content, 0), content)
        changed = tensor_file.View(variants.variant(content, 4))
        added = variants.offsets(3, 4)
        self.assertEqual(added, [0, 0.5 + 4 / 256, 0])
        self.assertEqual(list(changed.get("head.bias")), [a + b for a, b in zip(bias, added)])
        self.assertEqual(list(changed.get("probe.logits")), [a + b for a, b in zip(probe, added * 2)])
        self.assertEqual(len({variants.variant(content, k) for k in range(100)}), 100)


class Wheel(unittest.TestCase):
    def test_a_cached_wheel_needs_no_network(self):
        with tempfile.TemporaryDirectory() as cache:
            path = Path(cache) / "wheels" / "a.whl"
            path.parent.mkdir()
            path.write_bytes(b"content")
            self.assertEqual(wheel.fetch("a==1", "a.whl", wheel.digest(path), cache), path)

    def test_a_packages_files_are_unpacked_by_how_they_begin(self):
        with tempfile.TemporaryDirectory() as folder:
            archive = Path(folder) / "a.whl"
            with zipfile.ZipFile(archive, "w") as made:
                for path in ("a/capi/liba.so.1", "a/LICENSE", "a/other.py", "b/liba.so.2"):
                    made.writestr(path, path)
            out = Path(folder) / "out"
            out.mkdir()
            wheel.unpack(archive, "a", ["liba.so", "LICENSE"], out)
            found = {path.name: path.read_text() for path in out.iterdir()}
            self.assertEqual(found, {"liba.so.1": "a/capi/liba.so.1", "LICENSE": "a/LICENSE"})


class Percentile(unittest.TestCase):
    def test_percentiles_of_few_values(self):
        self.assertEqual(load.percentile([3, 1, 2], 0.5), 2)
        self.assertEqual(load.percentile(range(100), 0.99), 99)
        self.assertEqual(load.percentile([7], 0.99), 7)


if __name__ == "__main__":
    unittest.main()
