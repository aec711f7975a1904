"""Reads what a converter needs of an ONNX file with nothing but the standard library: weights and the nodes' names.

An ONNX file is one protobuf message; field numbers are those of onnx.proto: ModelProto.graph = 7; GraphProto.node = 1,
.initializer = 5; NodeProto.input = 1, .name = 3, .op_type = 4; TensorProto.dims = 1, .data_type = 2, .name = 8,
.raw_data = 9.
"""

from typing import NamedTuple

FLOAT = 1
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class Node(NamedTuple):
    """One operation: its name, its type ("MatMul"), the names of its inputs."""

    name: str
    op: str
    inputs: list


class Tensor(NamedTuple):
    """A stored weight: shape and little-endian float32 bytes, row-major."""

    shape: tuple
    data: memoryview


def read(content):
    """(nodes, {name: Tensor}) of a model's bytes."""
    graph = next(value for field, value in fields(memoryview(content)) if field == 7)
    nodes, tensors = [], {}
    for field, value in fields(graph):
        if field == 1:
            nodes.append(node(value))
        elif field == 5:
            name, tensor = initializer(value)
            tensors[name] = tensor
    return nodes, tensors


def node(message):
    name, op, inputs = "", "", []
    for field, value in fields(message):
        if field == 1:
            inputs.append(text(value))
        elif field == 3:
            name = text(value)
        elif field == 4:
            op = text(value)
    return Node(name, op, inputs)


def initializer(message):
    name, dims, kind, data = "", [], None, memoryview(b"")
    for field, value in fields(message):
        if field == 1:
            dims += [value] if isinstance(value, int) else varints(value)
        elif field == 2:
            kind = value
        elif field == 8:
            name = text(value)
        elif field == 9:
            data = value
    values = 1
    for dim in dims:
        values *= dim
    if kind == FLOAT and len(data) != 4 * values:
        raise ValueError(f"{name}: {len(data)} bytes for shape {dims}")
    return name, Tensor(tuple(dims), data)


def fields(message):
    """Each field of a message as (number, value): an int, or a view of its bytes."""
    at = 0
    while at < len(message):
        key, at = varint(message, at)
        kind = key & 7
        if kind == VARINT:
            value, at = varint(message, at)
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
            value, at = int.from_bytes(message[at : at + size], "little"), at + size
        elif kind == BYTES:
            size, at = varint(message, at)
            value, at = message[at : at + size], at + size
        else:
            raise ValueError(f"wire type {kind} at byte {at}: not an ONNX file")
        if at > len(message):
            raise ValueError("the file is cut short")
        yield key >> 3, value


def varint(message, at):
    value = shift = 0
    while True:
        byte = message[at]
        value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
        if byte < 0x80:
            return value, at


def varints(packed):
    values, at = [], 0
    while at < len(packed):
        value, at = varint(packed, at)
        values.append(value)
    return values


def text(value):
    return bytes(value).decode()
