"""The values of a state as JSON text and tensors, and back.

The text has `{"$tensor": …}` in place of a tensor; the name of the tensor is the path to that
place: `optimizer/state/0/exp_avg`. Values that JSON does not support are written as

- `{"$tuple": [...]}` for a tuple,
- `{"$items": [[key, value], ...]}` for a dictionary whose keys are not plain texts,
- `{"$counter": [[key, count], ...]}` for a `collections.Counter`,
- `{"$tensor": null}` for a tensor, or `{"$tensor": [0, 2, 3, 1]}` for one with this order of
  dimensions in memory (channels last); the file stores its bytes in the usual order,
- `NaN`, `Infinity` and `-Infinity`, like Python's json; other floats are restored bit for bit.
"""

import json
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mlrun.errors import MlrunError

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
DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}
PLAIN = frozenset((int, float, str, bool, type(None)))
DEEPEST = 100  # levels of lists and dictionaries; the state of an optimizer has six
JSON = json.JSONEncoder(separators=(",", ":"), check_circular=False)


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
    return Part(JSON.encode(_as_json(value, name, tensors)), tensors)


def unfit(value: Any, name: str = "the state") -> MlrunError:
    """Return the error for a value that a checkpoint cannot store."""
    kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
    return MlrunError(
        f"{name}: a checkpoint cannot store a value of type {kind}, only numbers, texts, lists, "
        "tuples, dictionaries and dense tensors of bool, u8, i32, i64, f16, bf16, f32 and f64"
    )


def fits(tensor: Tensor) -> bool:
    """Whether a file can store this tensor."""
    return tensor.dtype in DTYPE_NAMES and tensor.layout == torch.strided


def _as_json(value: Any, name: str, found: dict[str, Tensor]) -> Any:
    """Return the value for JSON; its tensors go to `found`."""
    kind = type(value)
    if kind in PLAIN:
        return value
    if kind is list:
        return _each(value, name, found)
    if kind is tuple:
        return {"$tuple": _each(value, name, found)}
    if kind is Counter:
        return {"$counter": _pairs(value, name, found)}
    if kind is dict or kind is OrderedDict:
        if all(type(key) is str and key[:1] != "$" for key in value):
            return {
                key: entry if type(entry) in PLAIN else _as_json(entry, f"{name}/{key}", found)
                for key, entry in value.items()
            }
        return {"$items": _pairs(value, name, found)}
    if not isinstance(value, Tensor) or not fits(value) or name in found:
        raise unfit(value, name)
    found[name] = value.detach().cpu()
    return {"$tensor": _order(value)}


def _each(values: Any, name: str, found: dict[str, Tensor]) -> list[Any]:
    return [_as_json(entry, f"{name}/{number}", found) for number, entry in enumerate(values)]


def _pairs(values: Mapping[Any, Any], name: str, found: dict[str, Tensor]) -> list[Any]:
    for key in values:
        if type(key) not in PLAIN:
            raise unfit(key, name)
    return [[key, _as_json(entry, f"{name}/{key}", found)] for key, entry in values.items()]


def _order(tensor: Tensor) -> list[int] | None:
    """Return the dimensions from outermost to innermost in memory, unless they are 0, 1, 2 …."""
    if tensor.dim() < 2:
        return None
    sizes, strides = tensor.shape, tensor.stride()
    order = sorted(range(len(sizes)), key=lambda dim: (-strides[dim], -sizes[dim]))
    usual = order == [*range(len(order))]
    return None if usual or not tensor.permute(order).is_contiguous() else order


def decode(value: Any, name: str, entries: dict[str, Any], depth: int = 0) -> Any:
    """Restore a value encoded by `encode`; take its tensors out of `entries`.

    Args:
        value: from JSON.
        name: the path to the value.
        entries: name → entry of safetensors.
        depth: the number of values around it.

    Raises:
        ValueError: the value or a tensor is not valid.
        KeyError: a tensor is missing.
    """
    if type(value) not in (list, dict):
        return value
    if depth == DEEPEST:  # more could be read, but not written again
        raise ValueError("its values are nested too deeply")
    depth += 1
    if type(value) is list:
        return [decode(entry, f"{name}/{n}", entries, depth) for n, entry in enumerate(value)]
    tag = next(iter(value), "")
    if not tag.startswith("$"):
        return {
            key: entry if type(entry) in PLAIN else decode(entry, f"{name}/{key}", entries, depth)
            for key, entry in value.items()
        }
    content = value[tag]
    if tag == "$tensor" and len(value) == 1:
        return _tensor(entries.pop(name), name, content)
    if tag not in ("$tuple", "$items", "$counter") or type(content) is not list or len(value) > 1:
        raise ValueError(f"'{name}' is not a valid {tag[1:]}")
    if tag == "$tuple":
        return tuple(decode(content, name, entries, depth))
    if not all(map(_is_item, content)):
        raise ValueError(f"'{name}' has invalid keys")
    items = {key: decode(entry, f"{name}/{key}", entries, depth) for key, entry in content}
    if len(items) != len(content):
        raise ValueError(f"'{name}' has a key twice")
    return items if tag == "$items" else Counter(items)


def _is_item(pair: Any) -> bool:
    return type(pair) is list and len(pair) == 2 and type(pair[0]) in PLAIN


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
