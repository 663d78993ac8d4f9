"""Checkpoints: exact, whole, safe to open."""

import copy
import math
import struct
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch.optim import lr_scheduler

from mlrun.errors import MlrunError
from mlrun.runs import checkpoint_file
from mlrun.runs.checkpoint import load_state, save_state
from mlrun.system.files import write_atomically
from tests.forged import entry, forged, sealed

STATE: dict[str, Any] = {"weights": {"w": torch.arange(3.0)}, "progress": {"epoch": 3}}


def saved_and_loaded(value: Any) -> Any:
    save_state(Path("a"), {"optimizer": value})
    return load_state(Path("a"))["optimizer"]


def identical(one: Any, other: Any) -> bool:
    """Of the same types and bits, in the same order."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        alike = (one.dtype, one.shape, one.stride()) == (other.dtype, other.shape, other.stride())
        return alike and torch.equal(one, other)
    if isinstance(one, dict):
        return identical([*one.items()], [*other.items()])
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(identical, one, other))
    if isinstance(one, float):
        return struct.pack("d", one) == struct.pack("d", other)
    return bool(one == other)


# --- exact ---


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 1, -(10**30), 0.1, -0.0, 1e-320, math.nan, math.inf, -math.inf),
        *("", "größe\n\"'\\\0", "日本😀", [], (), {}, [(1, [2.5]), None]),
        *({0: 1, "0": 2, None: 3, 1.5: 4}, {"$tuple": [1]}, {"$": 1, "a": 2}, {"a/b": {"c": 1}}),
        *(Counter({30: 1, 60: 2}), {"betas": (0.9, 0.999), 1: [{2: (3,)}]}),
    ],
    ids=repr,
)
def test_plain_values_come_back_exactly(workdir, value):
    assert identical(saved_and_loaded(value), value)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor(1360.0),
        torch.empty(0),
        torch.empty(3, 0, 2),
        *(torch.tensor([0, 1, 2]).to(kind) for kind in (torch.bool, torch.uint8, torch.int32)),
        *(torch.tensor([-3, 2**40]), torch.tensor([1e-320, -0.0], dtype=torch.float64)),
        *(torch.tensor([0.1, -7]).to(kind) for kind in (torch.float16, torch.bfloat16)),
        torch.rand(4, 3, 5, 5).to(memory_format=torch.channels_last),
        torch.rand(4, 1, 3, 3).to(memory_format=torch.channels_last),
        torch.rand(2, 3).t(),
    ],
    ids=lambda tensor: f"{tensor.dtype}-{[*tensor.shape]}-{tensor.stride()}",
)
def test_tensors_come_back_exactly(workdir, tensor):
    assert identical(saved_and_loaded({0: {"t": tensor}}), {0: {"t": tensor}})


def test_tensors_that_share_memory_come_back_with_memory_of_their_own(workdir):
    one = torch.arange(6.0).reshape(2, 3)
    value = [one, one, one[0], one[:, ::2], one[:1].expand(2, 3), one.requires_grad_()]
    loaded = saved_and_loaded(value)
    assert all(map(torch.equal, loaded, value))
    assert len({tensor.data_ptr() for tensor in loaded}) == len(value)
    loaded[0].fill_(9)  # can be written to


SCHEDULERS = [
    (lr_scheduler.ConstantLR, {}),
    (lr_scheduler.LinearLR, {}),
    (lr_scheduler.StepLR, {"step_size": 2}),
    (lr_scheduler.MultiStepLR, {"milestones": [1, 1, 4]}),
    (lr_scheduler.ExponentialLR, {"gamma": 0.9}),
    (lr_scheduler.PolynomialLR, {}),
    (lr_scheduler.CosineAnnealingLR, {"T_max": 5}),
    (lr_scheduler.CosineAnnealingWarmRestarts, {"T_0": 2}),
    (lr_scheduler.OneCycleLR, {"max_lr": 0.1, "total_steps": 9}),
    (lr_scheduler.CyclicLR, {"base_lr": 0.1, "max_lr": 0.2, "cycle_momentum": False}),
    (lr_scheduler.ReduceLROnPlateau, {}),
]


@pytest.mark.parametrize(("kind", "settings"), SCHEDULERS, ids=lambda value: str(value)[-40:])
def test_the_state_of_every_scheduler_comes_back_exactly(workdir, kind, settings):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    scheduler = kind(optimizer, **settings)
    for _ in range(3):
        optimizer.step()
        scheduler.step(*[0.5] * (kind is lr_scheduler.ReduceLROnPlateau))
    state = scheduler.state_dict()
    assert identical(saved_and_loaded(state), state)


OPTIMIZERS = [
    *("Adadelta", "Adafactor", "Adagrad", "Adam", "Adamax", "AdamW", "ASGD", "NAdam", "RAdam"),
    *("RMSprop", "Rprop", "SGD"),
]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_state_of_every_optimizer_comes_back_exactly(workdir, name):
    weight = torch.nn.Parameter(torch.rand(3, 2))
    optimizer = getattr(torch.optim, name)([weight])
    empty = copy.deepcopy(optimizer.state_dict())
    assert identical(saved_and_loaded(empty), empty)
    weight.grad = torch.rand(3, 2)
    optimizer.step()
    state = optimizer.state_dict()
    assert identical(saved_and_loaded(state), state)


def test_other_programs_can_read_the_tensors(workdir):
    weights = {"0.weight": torch.rand(2, 3), "0.bias": torch.rand(2, dtype=torch.float64)}
    save_state(Path("a"), {"weights": weights})
    found = safetensors.torch.load_file("a")
    assert all(torch.equal(found[f"weights/{name}"], weights[name]) for name in weights)


# --- what no checkpoint can hold ---

ODD = """
import torch

class Settings(torch.optim.SGD):
    def __init__(self, params, lr):
        super().__init__(params, lr)
        self.param_groups[0]["odd"] = {1, 2}

class State(torch.optim.SGD):
    def step(self, closure=None):
        super().step()
        self.state[self.param_groups[0]["params"][0]]["odd"] = torch.ones(1, dtype=torch.complex64)
"""


@pytest.fixture
def odd(write_csv: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    write_csv("odd.py", ODD)
    monkeypatch.syspath_prepend(".")


TRAIN = ("task=covid", "quiet=true", "allow=[odd.*]", "hydra.run.dir=run", "trainer.epochs=3")
OWN = ("~optimizer.momentum", "~optimizer.nesterov", "~optimizer.weight_decay", "optimizer=sgd")


@pytest.mark.usefixtures("odd")
def test_an_optimizer_whose_settings_cannot_be_saved_is_refused_before_training(mlrun):
    answer = mlrun(*TRAIN, *OWN, "optimizer._target_=odd.Settings")
    assert answer.code == 2
    assert (
        "optimizer/param_groups/0/odd: a checkpoint cannot store a value of type set" in answer.err
    )
    assert not Path("run").exists()


@pytest.mark.usefixtures("odd")
def test_an_optimizer_whose_state_cannot_be_saved_is_refused_with_its_first_epoch(mlrun):
    answer = mlrun(*TRAIN, *OWN, "optimizer._target_=odd.State")
    assert answer.code == 2
    assert "a checkpoint cannot store a value of type torch.complex64" in answer.err
    assert len(Path("run/metrics.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    "value",
    [
        *({1}, b"bytes", 1j, object(), {(1, 2): 3}, torch.Size([1]), torch.ones(1).to_sparse()),
        *(torch.ones(1, dtype=torch.complex64), {0: torch.ones(1), "0": torch.ones(1)}),
    ],
    ids=lambda value: type(value).__name__,  # a repr with an address differs between workers
)
def test_what_cannot_come_back_is_refused_when_it_is_saved(workdir, value):
    with pytest.raises(MlrunError, match=r"optimizer.*: a checkpoint cannot store"):
        save_state(workdir / "a", {"optimizer": value})
    assert not (workdir / "a").exists()


def test_a_header_that_could_not_be_read_is_not_written(workdir, monkeypatch):
    monkeypatch.setattr(checkpoint_file, "LONGEST_HEADER", 1000)
    with pytest.raises(MlrunError, match="a checkpoint cannot store 101 tensors"):
        save_state(workdir / "a", {"optimizer": [torch.ones(1)] * 100})


# --- whole ---


def refused(content: bytes) -> str:
    Path("bad").write_bytes(content)
    with pytest.raises(MlrunError, match="bad") as caught:
        load_state(Path("bad"))
    return str(caught.value)


def test_a_flipped_bit_anywhere_is_noticed(workdir):
    save_state(Path("a"), STATE)
    whole = Path("a").read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        assert refused(bytes(damaged))


def test_a_truncated_or_longer_checkpoint_is_noticed(workdir):
    save_state(Path("a"), STATE)
    whole = Path("a").read_bytes()
    for size in range(len(whole)):
        assert refused(whole[:size])
    assert "checksum" in refused(whole[:-1])
    assert "checksum" in refused(whole + b"\0")
    assert "cannot be loaded" in refused(sealed(whole + b"\0"))


def test_a_missing_checkpoint_is_named(workdir):
    with pytest.raises(MlrunError, match="no checkpoint"):
        load_state(workdir / "none")


def of_format_1(path: Path) -> None:
    torch.save({"format": 1, **STATE}, path)


def of_format_3(path: Path) -> None:
    save_state(path, STATE)
    path.write_bytes(path.read_bytes().replace(b"checkpoint 2", b"checkpoint 3"))


def of_another_program(path: Path) -> None:
    safetensors.torch.save_file(STATE["weights"], path, metadata={"format": "pt"})


@pytest.mark.parametrize("make", [of_format_1, of_format_3, of_another_program, Path.touch])
def test_another_format_is_named(workdir, make):
    make(Path("a"))
    with pytest.raises(MlrunError, match="a: not a checkpoint of format 2, the one this mlrun"):
        load_state(Path("a"))


def test_a_missing_part_or_one_of_another_kind_is_named(workdir):
    save_state(workdir / "a", {**STATE, "spec": [1]})
    for name in ("contract", "spec"):
        with pytest.raises(MlrunError, match=rf"a is damaged: '{name}' is missing or is not a"):
            load_state(workdir / "a", parts={name: dict})


def test_a_part_that_no_checkpoint_has_is_refused(workdir):
    save_state(workdir / "a", {**STATE, "more": 1})
    with pytest.raises(MlrunError, match="'more' is not a known part of a checkpoint"):
        load_state(workdir / "a")


def test_the_name_of_a_part_is_shortened(workdir):
    assert len(refused(forged(f'{{"{"x" * 5000}":1}}'))) < 300


# --- safe ---

ONE = '{"weights":{"w":{"$tensor":null}}}'
FLOAT = entry("weights/w", "F32", [1], 0, 4)


def test_a_forged_checkpoint_with_nothing_wrong_is_read(workdir):
    Path("a").write_bytes(forged(ONE, FLOAT, struct.pack("<f", 2.5)))
    assert identical(load_state(Path("a")), {"weights": {"w": torch.tensor([2.5])}})


HOSTILE = {
    "the header is longer than the file": forged(ONE, FLOAT, bytes(4), length=10**6),
    "the header is of 2^63 bytes": forged(ONE, FLOAT, bytes(4), length=2**63),
    "the header is of no bytes": forged(ONE, FLOAT, bytes(4), length=0),
    "the header is no JSON": forged(ONE, FLOAT.replace(":", "", 1), bytes(4)),
    "the header is nested deeply": forged(ONE, f'"w":{"[" * 10**5}', bytes(4)),
    "terabytes": forged(ONE, entry("weights/w", "F32", [10**6, 10**6], 0, 4), bytes(4)),
    "terabytes, and their place": forged(
        ONE, entry("weights/w", "F32", [10**6, 10**6], 0, 4 * 10**12), bytes(4)
    ),
    "more bytes than an integer counts": forged(
        ONE, entry("weights/w", "F32", [2**32, 2**31, 2], 0, 4), bytes(4)
    ),
    "nothing, in a shape beyond an integer": forged(
        ONE, entry("weights/w", "F32", [0, 2**63], 0, 0)
    ),
    "nothing, in a large shape": forged(ONE, entry("weights/w", "F32", [2**62, 2**62, 0], 0, 0)),
    "a negative shape": forged(ONE, entry("weights/w", "F32", [-1], 0, 4), bytes(4)),
    "a shape that is no number": forged(ONE, FLOAT.replace("[1]", '["1"]'), bytes(4)),
    "another size than the shape's": forged(ONE, entry("weights/w", "F32", [2], 0, 4), bytes(4)),
    "places that overlap": forged(
        '{"weights":[{"$tensor":null},{"$tensor":null}]}',
        f"{entry('weights/0', 'F32', [1], 0, 4)},{entry('weights/1', 'F32', [1], 0, 4)}",
        bytes(4),
    ),
    "a gap": forged(ONE, entry("weights/w", "F32", [1], 4, 8), bytes(8)),
    "a place before the data": forged(ONE, entry("weights/w", "F32", [1], -4, 0), bytes(4)),
    "a tensor twice": forged(ONE, f"{FLOAT},{entry('weights/w', 'F32', [1], 4, 8)}", bytes(8)),
    "complex numbers": forged(ONE, entry("weights/w", "C64", [1], 0, 8), bytes(8)),
    "numbers of an unknown kind": forged(ONE, entry("weights/w", "X99", [1], 0, 4), bytes(4)),
    "a tensor that nothing refers to": forged('{"weights":{}}', FLOAT, bytes(4)),
    "a tensor in the preprocessing": forged(
        '{"contract":{"columns":[{"$tensor":null}]}}',
        entry("contract/columns/0", "F32", [1], 0, 4),
        bytes(4),
    ),
    "a tensor that is not there": forged(ONE),
    "a tensor in two places": forged(
        '{"weights":{"$items":[["w",{"$tensor":null}],["w",{"$tensor":null}]]}}', FLOAT, bytes(4)
    ),
    "dimensions twice": forged(
        '{"weights":{"w":{"$tensor":[0,0]}}}', entry("weights/w", "F32", [1, 1], 0, 4), bytes(4)
    ),
    "dimensions that are no numbers": forged(
        '{"weights":{"w":{"$tensor":[true,false]}}}',
        entry("weights/w", "F32", [1, 1], 0, 4),
        bytes(4),
    ),
    "dimensions beyond": forged('{"weights":{"w":{"$tensor":[1]}}}', FLOAT, bytes(4)),
    "dimensions in a dictionary": forged('{"weights":{"w":{"$tensor":{}}}}', FLOAT, bytes(4)),
    "values nested deeply": forged('{"weights":' + "[" * 10**6),
    "values nested deeply, and closed": forged(f'{{"weights":{"[" * 10**5}{"]" * 10**5}}}'),
    "values nested so deeply that they cannot be written again": forged(
        f'{{"spec":{"[" * 300}{"]" * 300}}}'
    ),
    "a tensor of a long name that is not there": forged(
        f'{{"weights":{{"{"x" * 5000}":{{"$tensor":null}}}}}}'
    ),
    "tuples nested deeply": forged('{"spec":' + '{"$tuple":[' * 900 + "]}" * 900 + "}"),
    "a number of many digits": forged(f'{{"weights":{"9" * 10**5}}}'),
    "a key twice": forged('{"progress":{"epoch":1,"epoch":2}}'),
    "a part twice": forged('{"spec":{},"spec":{}}'),
    "an item twice": forged('{"spec":{"$items":[[1,2],[1,3]]}}'),
    "an item without a value": forged('{"spec":{"$items":[[1]]}}'),
    "an item of three": forged('{"spec":{"$items":[[1,2,3]]}}'),
    "items that are none": forged('{"spec":{"$items":{"a":1}}}'),
    "a key that is a list": forged('{"spec":{"$items":[[[],1]]}}'),
    "an unknown kind of value": forged('{"spec":{"$object":["os.system","touch PWNED"]}}'),
    "two kinds of value": forged('{"spec":{"$tuple":[],"$items":[]}}'),
    "values that are a list": forged("[1]"),
    "values that are no JSON": forged("{'weights'"),
    "values in another encoding": forged("{}").replace(b"{}", b"\xff\xfe"),
    "no values": sealed(forged("{}").replace(b"values.json", b"others.json")),
}
HOSTILE["values in another encoding"] = sealed(HOSTILE["values in another encoding"])


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_checkpoint_is_refused_within_a_small_multiple_of_its_size(workdir, content):
    tracemalloc.start()
    try:
        message = refused(content)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "bad cannot be loaded: " in message
    assert "checksum" not in message
    assert "unhashable" not in message
    assert "values to unpack" not in message
    assert len(message) < 300
    assert peak < 10**6 + 100 * len(content)


def test_a_folder_in_place_of_a_checkpoint_is_refused(workdir):
    Path("a").mkdir()
    with pytest.raises(MlrunError, match="no checkpoint a"):
        load_state(Path("a"))


def test_a_failed_write_leaves_the_old_file_and_no_debris(workdir, monkeypatch):
    path = workdir / "file"
    write_atomically(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in workdir.iterdir()] == ["file"]
