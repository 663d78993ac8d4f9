"""The file format of a state: tensors as safetensors, other values as JSON, with one checksum.

It is a safetensors file: the length of the header (8 bytes), the header (JSON: dtype, shape and
position of every tensor) and the bytes of the tensors. The header starts with `MAGIC` and a CRC-32
of the length and of everything that follows. The CRC detects damage, as in a zip archive; SHA-256
would take longer than everything else on processors without an instruction for it.

The tensor `values.json` contains the other values as JSON text, with `{"$tensor": …}` in place of a
tensor; the name of the tensor is the path to that place: `optimizer/state/0/exp_avg`. Values that
JSON does not support are written as

- `{"$tuple": [...]}` for a tuple,
- `{"$items": [[key, value], ...]}` for a dictionary whose keys are not plain texts,
- `{"$counter": [[key, count], ...]}` for a `collections.Counter`,
- `{"$tensor": null}` for a tensor, or `{"$tensor": [0, 2, 3, 1]}` for one with this order of
  dimensions in memory (channels last); the file stores its bytes in the usual order,
- `NaN`, `Infinity` and `-Infinity`, like Python's json; other floats are restored bit for bit.

Nothing else is read, and reading executes no code: safetensors compares all sizes with the file
before it copies data.
"""

import json
import struct
import zlib
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, deserialize
from torch import Tensor

from mlrun.errors import MlrunError

FORMAT = 2
MAGIC = f'{{"__metadata__":{{"mlrun checkpoint {FORMAT}, CRC-32":"'.encode()
CHECKSUM = slice(8 + len(MAGIC), 8 + len(MAGIC) + 8)  # 8 hexadecimal digits
VALUES = "values.json"
LONGEST_HEADER = 100_000_000  # limit of safetensors
DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I32": torch.int32,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
PLAIN = frozenset((int, float, str, bool, type(None)))
_NOT_A_STATE = (ValueError, TypeError, RuntimeError, ArithmeticError)  # errors from invalid values
_JSON = json.JSONEncoder(separators=(",", ":"), check_circular=False)


@dataclass(frozen=True)
class Part:
    """An encoded value."""

    text: str  # JSON
    tensors: Mapping[str, Tensor] = field(default_factory=dict)  # by name


def encode(name: str, value: Any) -> Part:
    """Encode one part of a state.

    Args:
        name: of the part; the names of its tensors begin with it.
        value: of plain values, lists, tuples, dictionaries, counters and tensors.

    Raises:
        MlrunError: the value contains something else.
    """
    tensors: dict[str, Tensor] = {}
    return Part(_JSON.encode(_as_json(value, name, tensors)), tensors)


def unfit(value: Any, place: str = "the state") -> MlrunError:
    """Return the error for a value that a checkpoint cannot store."""
    kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
    return MlrunError(
        f"{place}: a checkpoint cannot store a value of type {kind}, only numbers, texts, lists, "
        "tuples, dictionaries and dense tensors of bool, u8, i32, i64, f16, bf16, f32 and f64"
    )


def fits(tensor: Tensor) -> bool:
    """Whether a file can store this tensor."""
    return tensor.dtype in _NAMES and tensor.layout == torch.strided


def _as_json(value: Any, place: str, found: dict[str, Tensor]) -> Any:
    """Return the value for JSON; its tensors go to `found`."""
    kind = type(value)
    if kind in PLAIN:
        return value
    if kind is list:
        return _each(value, place, found)
    if kind is tuple:
        return {"$tuple": _each(value, place, found)}
    if kind is Counter:
        return {"$counter": _pairs(value, place, found)}
    if kind is dict or kind is OrderedDict:
        if all(type(key) is str and key[:1] != "$" for key in value):
            return {
                key: entry if type(entry) in PLAIN else _as_json(entry, f"{place}/{key}", found)
                for key, entry in value.items()
            }
        return {"$items": _pairs(value, place, found)}
    if not isinstance(value, Tensor) or not fits(value) or place in found:
        raise unfit(value, place)
    found[place] = value.detach().cpu()
    return {"$tensor": _order(value)}


def _each(values: Any, place: str, found: dict[str, Tensor]) -> list[Any]:
    return [_as_json(entry, f"{place}/{number}", found) for number, entry in enumerate(values)]


def _pairs(values: Mapping[Any, Any], place: str, found: dict[str, Tensor]) -> list[Any]:
    for key in values:
        if type(key) not in PLAIN:
            raise unfit(key, place)
    return [[key, _as_json(entry, f"{place}/{key}", found)] for key, entry in values.items()]


def _order(tensor: Tensor) -> list[int] | None:
    """Return the dimensions from outermost to innermost in memory, unless they are 0, 1, 2 …."""
    if tensor.dim() < 2:
        return None
    sizes, strides = tensor.shape, tensor.stride()
    order = sorted(range(len(sizes)), key=lambda dim: (-strides[dim], -sizes[dim]))
    usual = order == [*range(len(order))]
    return None if usual or not tensor.permute(order).is_contiguous() else order


def to_bytes(parts: Mapping[str, Part]) -> bytes:
    """Return the content of the file for these parts.

    safetensors' own `save` writes the same without the checksum, but takes several times as long,
    mostly for copies.

    Raises:
        MlrunError: there are too many tensors for the header.
    """
    text = ",".join(f"{_JSON.encode(name)}:{part.text}" for name, part in parts.items())
    tensors = {name: tensor for part in parts.values() for name, tensor in part.tensors.items()}
    tensors[VALUES] = torch.frombuffer(bytearray(f"{{{text}}}".encode()), dtype=torch.uint8)
    header: dict[str, Any] = {}
    data: list[memoryview] = []
    end = 0
    for name, tensor in sorted(tensors.items(), key=lambda entry: -entry[1].element_size()):
        start, end = end, end + tensor.numel() * tensor.element_size()
        shape, dtype = list(tensor.shape), _NAMES[tensor.dtype]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
        flat = tensor.reshape(-1)
        if flat.stride(0) != 1:  # a slice of one row keeps the stride of its table
            flat = flat.clone(memory_format=torch.contiguous_format)
        data.append(flat.view(torch.uint8).numpy().data)
    rest = b'"},' + _JSON.encode(header)[1:].encode()
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


def read(path: Path) -> dict[str, Any]:
    """Read the parts from a file of `to_bytes`; tensors are on the CPU.

    Raises:
        MlrunError: it is unreadable or damaged, has another format, or contains anything else.
    """
    try:
        entries = dict(deserialize(_checked(path)))  # type: ignore[no-untyped-call]
        text = str(entries.pop(VALUES)["data"], "utf-8")
        values = json.loads(text, object_pairs_hook=_unique)
        if type(values) is not dict:
            raise ValueError(f"'{VALUES}' holds no parts")
        state = {name: _from_json(values[name], name, entries) for name in values}
        if entries:
            raise ValueError(f"nothing refers to its '{min(entries)}'")
    except KeyError as error:
        raise MlrunError(f"{path} cannot be loaded: it has no {error}") from error
    except (OSError, SafetensorError, *_NOT_A_STATE) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise MlrunError(f"{path} cannot be loaded: {reason}") from error
    return state


def _checked(path: Path) -> bytes:
    """Read a file and check its start and its checksum."""
    content = path.read_bytes()
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


def _from_json(value: Any, place: str, entries: dict[str, Any]) -> Any:
    """Restore a value encoded by `_as_json`."""
    if type(value) is list:
        return [_from_json(entry, f"{place}/{n}", entries) for n, entry in enumerate(value)]
    if type(value) is not dict:
        return value
    tag = next(iter(value), "")
    if not tag.startswith("$"):
        return {
            key: entry if type(entry) in PLAIN else _from_json(entry, f"{place}/{key}", entries)
            for key, entry in value.items()
        }
    content = value[tag]
    if tag == "$tensor" and len(value) == 1:
        return _tensor(entries.pop(place), place, content)
    if tag not in ("$tuple", "$items", "$counter") or type(content) is not list or len(value) > 1:
        raise ValueError(f"'{place}' is not a valid {tag[1:]}")
    if tag == "$tuple":
        return tuple(_from_json(content, place, entries))
    items = {key: _from_json(entry, f"{place}/{key}", entries) for key, entry in content}
    if len(items) != len(content) or not {*map(type, items)} <= PLAIN:
        raise ValueError(f"'{place}' has invalid keys")
    return items if tag == "$items" else Counter(items)


def _tensor(entry: Mapping[str, Any], name: str, order: Any) -> Tensor:
    """Return the tensor with this name, in memory owned by torch."""
    shape, dtype = entry["shape"], DTYPES.get(entry["dtype"])
    order = [*range(len(shape))] if order is None else order
    integers = type(order) is list and all(type(dim) is int for dim in order)
    if dtype is None or not integers or sorted(order) != [*range(len(shape))]:
        raise ValueError(f"'{name}' is not a valid tensor")
    tensor = torch.empty_permuted(shape, order, dtype=dtype)
    if tensor.numel():
        tensor.copy_(torch.frombuffer(entry["data"], dtype=dtype).reshape(shape))
    return tensor
