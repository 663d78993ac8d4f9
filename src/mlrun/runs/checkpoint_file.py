"""The file format of a state: tensors as safetensors, other values as JSON, with one checksum.

It is a safetensors file: the length of the header (8 bytes), the header (JSON: dtype, shape and
position of every tensor) and the bytes of the tensors. The header starts with `MAGIC` and a CRC-32
of the length and of everything that follows. The CRC detects damage, as in a zip archive; SHA-256
would take longer than everything else on processors without an instruction for it.

The tensor `values.json` contains the other values as JSON text; `runs/checkpoint_values.py`
describes it.

Nothing else is read, and reading executes no code: safetensors compares all sizes with the file
before it copies data.
"""

import json
import struct
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, deserialize

from mlrun.errors import MlrunError
from mlrun.runs.checkpoint_values import DTYPE_NAMES, JSON, Part, decode
from mlrun.system.files import read_bytes

FORMAT = 2
MAGIC = f'{{"__metadata__":{{"mlrun checkpoint {FORMAT}, CRC-32":"'.encode()
CHECKSUM = slice(8 + len(MAGIC), 8 + len(MAGIC) + 8)  # 8 hexadecimal digits
VALUES = "values.json"
LONGEST_HEADER = 100_000_000  # limit of safetensors
_NOT_A_STATE = (ValueError, TypeError, RuntimeError, ArithmeticError)  # errors from invalid values


def content_of(parts: Mapping[str, Part]) -> bytes:
    """Return the content of the file for these parts.

    safetensors' own `save` writes the same without the checksum, but takes several times as long,
    mostly for copies.

    Raises:
        MlrunError: there are too many tensors for the header.
    """
    text = ",".join(f"{JSON.encode(name)}:{part.text}" for name, part in parts.items())
    tensors = {name: tensor for part in parts.values() for name, tensor in part.tensors.items()}
    tensors[VALUES] = torch.frombuffer(bytearray(f"{{{text}}}".encode()), dtype=torch.uint8)
    header: dict[str, Any] = {}
    data: list[memoryview] = []
    end = 0
    for name, tensor in sorted(tensors.items(), key=lambda entry: -entry[1].element_size()):
        start, end = end, end + tensor.numel() * tensor.element_size()
        shape, dtype = list(tensor.shape), DTYPE_NAMES[tensor.dtype]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
        flat = tensor.reshape(-1)
        if flat.stride(0) != 1:  # a slice of one row keeps the stride of its table
            flat = flat.clone(memory_format=torch.contiguous_format)
        data.append(flat.view(torch.uint8).numpy().data)
    rest = b'"},' + JSON.encode(header)[1:].encode()
    rest += b" " * (-(CHECKSUM.stop + len(rest)) % 8)  # the tensors begin at a multiple of 8
    if CHECKSUM.stop + len(rest) > LONGEST_HEADER:
        raise MlrunError(
            f"a checkpoint cannot store {len(tensors)} tensors: its header is too long"
        )
    length = struct.pack("<Q", CHECKSUM.stop + len(rest) - 8)
    return b"".join((length, MAGIC, _checksum(length, rest, *data), rest, *data))


def _checksum(*pieces: bytes | memoryview) -> bytes:
    checksum = 0
    for piece in pieces:
        checksum = zlib.crc32(piece, checksum)
    return b"%08x" % checksum


def read_parts(path: Path, *, plain: Collection[str] = ()) -> dict[str, Any]:
    """Read the parts from a file with the content of `content_of`; tensors are on the CPU.

    Args:
        path: the file.
        plain: the parts that have no tensors.

    Raises:
        MlrunError: it is unreadable or damaged, has another format, or contains anything else.
    """
    try:
        entries = dict(deserialize(_checked(path)))  # type: ignore[no-untyped-call]
        text = str(entries.pop(VALUES)["data"], "utf-8")
        values = json.loads(text, object_pairs_hook=_unique)
        if odd := [name for name in entries if name.partition("/")[0] in plain]:
            raise ValueError(f"'{odd[0]}' must not be a tensor")
        if type(values) is not dict:
            raise ValueError(f"'{VALUES}' holds no parts")
        state = {name: decode(values[name], name, entries) for name in values}
        if entries:
            raise ValueError(f"nothing refers to its '{min(entries)}'")
    except KeyError as error:
        raise MlrunError(f"{path} cannot be loaded: it has no {str(error)[:200]}") from error
    except (OSError, SafetensorError, *_NOT_A_STATE) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise MlrunError(f"{path} cannot be loaded: {reason}") from error
    return state


def _checked(path: Path) -> bytes:
    """Read a file and check its start and its checksum."""
    content = read_bytes(path)
    if content[8 : CHECKSUM.start] != MAGIC:
        raise MlrunError(f"{path}: not a checkpoint of format {FORMAT}, the one this mlrun reads")
    if content[CHECKSUM] != _checksum(content[:8], memoryview(content)[CHECKSUM.stop :]):
        raise MlrunError(f"{path} cannot be loaded: its checksum is wrong")
    return content


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a name appears twice")
    return values
