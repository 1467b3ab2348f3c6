"""What an ONNX file says about itself that ONNX Runtime does not tell: operator sets and the number of weights.

Reads the few fields of the protobuf message that are needed (onnx.proto of the ONNX project), so that neither the jobs
nor `verify` need the onnx package. Runs nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Final

from ser_model.errors import ModelFolderError

# Numbers of fields in onnx.proto.
_MODEL_GRAPH, _MODEL_OPSET = 7, 8
_OPSET_DOMAIN, _OPSET_VERSION = 1, 2
_GRAPH_NODE, _GRAPH_INITIALIZER = 1, 5
_NODE_ATTRIBUTE: Final = 5
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH = 5, 6
_TENSOR_DIMS, _TENSOR_TYPE = 1, 2
_INT64: Final = 7
"""The type of shapes and axes, which are no weights."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True)
class OnnxFile:
    """What an ONNX file says about itself.

    Attributes
    ----------
    opsets
        The version of each domain of operators; ``ai.onnx`` is the standard one.
    parameters
        Numbers in its constant tensors but those of 64-bit integers.
    """

    opsets: Mapping[str, int]
    parameters: int

    @classmethod
    def read(cls, content: bytes) -> "OnnxFile":
        """Read a file's bytes.

        Raises
        ------
        ModelFolderError
            If they are no protobuf message.
        """
        opsets: dict[str, int] = {}
        graphs: list[memoryview] = []
        parameters = 0
        for number, value in _fields(memoryview(content)):
            if number == _MODEL_OPSET and isinstance(value, memoryview):
                entry = dict(_fields(value))
                domain, version = entry.get(_OPSET_DOMAIN, b""), entry.get(_OPSET_VERSION, 0)
                if not isinstance(domain, int) and isinstance(version, int):
                    opsets[bytes(domain).decode(errors="replace") or "ai.onnx"] = version
            elif number == _MODEL_GRAPH and isinstance(value, memoryview):
                graphs.append(value)
        while graphs:
            for number, value in _fields(graphs.pop()):
                if not isinstance(value, memoryview):
                    continue
                if number == _GRAPH_INITIALIZER:
                    parameters += _numbers(value)
                elif number == _GRAPH_NODE:
                    for kind, part in _attribute_parts(value):
                        if kind == _ATTRIBUTE_TENSOR:
                            parameters += _numbers(part)
                        elif kind == _ATTRIBUTE_GRAPH:
                            graphs.append(part)
        return cls(opsets, parameters)


def _attribute_parts(node: memoryview) -> Iterator[tuple[int, memoryview]]:
    for number, attribute in _fields(node):
        if number == _NODE_ATTRIBUTE and isinstance(attribute, memoryview):
            yield from ((kind, part) for kind, part in _fields(attribute) if isinstance(part, memoryview))


def _numbers(tensor: memoryview) -> int:
    """How many weights a tensor has."""
    dims: list[int] = []
    kind = 0
    for number, value in _fields(tensor):
        if number == _TENSOR_DIMS:
            dims += [value] if isinstance(value, int) else _packed(value)
        elif number == _TENSOR_TYPE and isinstance(value, int):
            kind = value
    return 0 if kind == _INT64 else prod(dims)


def _packed(values: memoryview) -> list[int]:
    result, place = [], 0
    while place < len(values):
        value, place = _varint(values, place)
        result.append(value)
    return result


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield number and value of each field: whole numbers, or bytes."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        kind = key & 7
        if kind == _VARINT:
            value, place = _varint(message, place)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            length, place = _varint(message, place)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise ModelFolderError(f"not ONNX: a field of kind {kind} at byte {place}; expected a protobuf message")
        if place + length > len(message):
            raise ModelFolderError(f"not ONNX: cut off, {length} bytes announced at byte {place}; copy the file again")
        yield key >> 3, message[place : place + length]
        place += length


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            break
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ModelFolderError(f"not ONNX: a number that does not end at byte {place}; expected a protobuf message")
