"""Random and damaged checkpoints: the same state comes back, or one error line.

A damaged byte is found by the checksum. Forged files have a checksum that fits: what is read from
one is a state that mlrun could have written, and takes no more memory than the file.
"""

import json
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st

from mlrun.runs.checkpoint import LAST_PARTS, PLAIN_PARTS, load_state, save_state
from mlrun.runs.checkpoint_values import DTYPES
from tests import faults
from tests.forged import AFTER, sealed
from tests.fuzzing import Share, refusal, shares
from tests.mutations import Change, changes, edited, edits, json_changes, leaf, with_changes
from tests.test_checkpoint import identical

FILE, AGAIN = Path("a"), Path("b")

# --- states as mlrun writes them ---

plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
key = st.text(max_size=4) | st.integers(-3, 10**6) | st.none() | st.floats(0, 1)


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    """A small tensor of any kind, also transposed."""
    shape = draw(st.sampled_from(((), (0,), (1,), (3,), (2, 3), (3, 0), (2, 3, 2), (1, 2, 2, 3))))
    kind = draw(st.sampled_from((*DTYPES.values(),)))
    tensor = (torch.arange(torch.Size(shape).numel()) * draw(st.integers(-3, 3))).to(kind)
    tensor = tensor.reshape(shape)
    return tensor.permute([*reversed(range(len(shape)))]) if draw(st.booleans()) else tensor


def nested(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Values within values."""
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.lists(inner, max_size=3).map(tuple),
            st.dictionaries(st.text(max_size=4), inner, max_size=3),
            st.dictionaries(key, inner, max_size=2),
            st.dictionaries(st.integers(0, 99), st.integers(0, 9), max_size=2).map(Counter),
        ),
        max_leaves=8,
    )


any_value, plain_value = nested(plain | tensors()), nested(plain)
states = st.fixed_dictionaries(
    {}, optional={name: plain_value if name in PLAIN_PARTS else any_value for name in LAST_PARTS}
)


@faults.random_checkpoint
@shares(fast=20, soak=4000)
def test_any_state_comes_back_or_cannot_be_written(share: Share, record_property: Any) -> None:
    def check(state: dict[str, Any]) -> None:
        if told := refusal(lambda: save_state(FILE, state)):  # two keys of one text: 1 and "1"
            assert "a checkpoint cannot store" in told
            return
        assert same_state(load_state(FILE), state)

    record_property("examples", share.of(states, check))


def same_state(one: Any, other: Any) -> bool:
    """Like `identical`, but a tensor may come back with other strides if it has holes."""
    return identical(one, other) or written(one) == written(other)


def written(state: dict[str, Any]) -> bytes:
    """The bytes of the file that this state makes."""
    save_state(AGAIN, state)
    return AGAIN.read_bytes()


# --- files as nobody writes them ---

SOUND: dict[str, Any] = {
    "config": {"seed": 0, "model": {"hidden": [3, 2]}},
    "spec": {"in_shape": [3], "classes": None, "names": ["a", "ß"]},
    "weights": {"0.weight": torch.arange(6.0).reshape(2, 3), "0.bias": torch.ones(2)},
    "examples": torch.arange(4, dtype=torch.float64).reshape(2, 2).t(),
    "progress": {"epoch": 3, "score": 0.5, "is_best": True},
    "optimizer": {"state": {0: {"step": torch.tensor(3.0), "exp": (torch.zeros(2), 1)}}},
    "scheduler": {"milestones": Counter({30: 1, 60: 2}), "last": 1e-320},
    "history": [{"epoch": 1, "loss": float("inf")}, {"epoch": 2, "loss": -0.0}],
    "best": {},
}


def in_memory(state: Any) -> Iterator[torch.Tensor]:
    """The tensors of a state."""
    if isinstance(state, torch.Tensor):
        yield state
    elif isinstance(state, dict | list | tuple):
        for entry in state.values() if isinstance(state, dict) else state:
            yield from in_memory(entry)


def check_forged(content: bytes) -> bool:
    """Whether the file is read; what is read is a state, and smaller than the file."""
    FILE.write_bytes(content)
    found: list[Any] = []
    if told := refusal(lambda: found.append(load_state(FILE))):
        assert told.startswith(("a ", "a: "))
        assert len(told) < 400
        return False
    [state] = found
    assert {*state} <= {*LAST_PARTS}
    assert sum(tensor.nbytes for tensor in in_memory(state)) <= len(content)
    once = written(state)
    assert written(load_state(AGAIN)) == once
    return True


@faults.random_checkpoint
@shares(fast=25, soak=5000)
def test_any_damaged_byte_of_a_checkpoint_is_noticed(share: Share, record_property: Any) -> None:
    sound = written(SOUND)

    def check(these: list[Any]) -> None:
        content = edited(sound, these)
        FILE.write_bytes(content)
        assert check_forged(content) == (content == sound)

    record_property("examples", share.of(edits, check))


Forgery = tuple[str, list[Any]]


def forge(sound: bytes, forgery: Forgery) -> bytes:
    """A file with other bytes, another header, or other values, and with lengths that fit it."""
    what, these = forgery
    if what == "bytes":
        return sealed(edited(sound, these))
    header, data = parts_of(sound)
    if what == "header":
        return built(header, data, these)
    start, stop = header["values.json"]["data_offsets"]
    text = data[start:stop]
    values = with_changes(text.decode(), these).encode() if what == "values" else None
    values = edited(text, these) if values is None else values
    header["values.json"] |= {"shape": [len(values)], "data_offsets": [start, start + len(values)]}
    assert stop == len(data)  # bytes are the smallest elements, and the last
    return built(header, data[:start] + values, [])


def parts_of(sound: bytes) -> tuple[dict[str, Any], bytes]:
    """The header, without its checksum, and the data."""
    length = struct.unpack("<Q", sound[:8])[0]
    header = json.loads(sound[8 : 8 + length])
    del header["__metadata__"]
    return header, sound[8 + length :]


def built(header: dict[str, Any], data: bytes, these: list[Change]) -> bytes:
    rest = b'"},' + with_changes(json.dumps(header), these).encode()[1:]
    rest = b'"}}' if rest == b'"},}' else rest
    return sealed(struct.pack("<Q", AFTER - 8 + len(rest)) + bytes(AFTER - 8) + rest + data)


header_leaf = leaf | st.sampled_from(
    (*DTYPES, "F8_E4M3", "C64", 2**31, 2**32, 2**63, 2**64, -(2**63), [2**32, 2**32], [0, 2**63])
)
forgeries = st.one_of(
    st.tuples(st.just("bytes"), edits),
    st.tuples(st.just("header"), st.lists(changes(header_leaf), min_size=1, max_size=2)),
    st.tuples(st.just("values"), json_changes),
    st.tuples(st.just("text"), edits),
)


@faults.random_checkpoint
@shares(fast=30, soak=14000, parts=2)
def test_any_forged_checkpoint_is_a_state_or_refused(share: Share, record_property: Any) -> None:
    sound = written(SOUND)
    assert check_forged(forge(sound, ("values", [])))
    read = 0

    def check(forgery: Forgery) -> None:
        nonlocal read
        read += check_forged(forge(sound, forgery))

    record_property("examples", share.of(forgeries, check))
    assert 0 < read < share.tried
