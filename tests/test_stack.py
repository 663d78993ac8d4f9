"""Stacked members: each is its lone run, to the rounding of float32."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adagrad, AdamW, RMSprop
from torch.optim.lr_scheduler import ConstantLR, OneCycleLR, ReduceLROnPlateau

from mlrun.errors import Diverged
from mlrun.models.dropout import Dropout
from mlrun.training.engines.autograd import Autograd
from mlrun.training.engines.stacked import Stacked, why_not
from mlrun.training.loop import EpochRow, fit
from mlrun.training.objective import Objective
from mlrun.training.types import Features, Learner, Member, Progress
from tests.test_cli import slow
from tests.test_loop import SPEC, TRAINER, by_torch, rows

# float32 rounds a sum over a batch to about 1e-7 of itself; 50 steps make at most this of it.
TOLERANCE = 1e-4


class Net(nn.Sequential):
    """What the kernel lacks: an activation with weights of its own."""

    def __init__(self, dropout: float) -> None:
        drop = [Dropout(dropout)] if dropout else []
        super().__init__(nn.Linear(3, 8), nn.PReLU(), *drop, nn.Linear(8, 1))


class Image(nn.Sequential):
    """The three numbers as an image of one by three."""

    def __init__(self, dropout: float) -> None:
        drop = [Dropout(dropout)] if dropout else []
        layers = (nn.Unflatten(1, (1, 1, 3)), nn.Conv2d(1, 4, (1, 2)), nn.ReLU(), nn.Flatten())
        super().__init__(*layers, *drop, nn.Linear(8, 1))


OPTIMIZERS: dict[str, Any] = {
    "sgd": lambda p: SGD(p, lr=0.05),
    "momentum": lambda p: SGD(p, lr=0.005, momentum=0.9, weight_decay=0.01),
    "adamw": lambda p: AdamW(p, lr=0.01),
    "rmsprop": lambda p: RMSprop(p, lr=0.003, momentum=0.5),
    "adagrad": lambda p: Adagrad(p, lr=0.05),
}


def member(
    seed: int,
    *,
    net: type[Net] | type[Image] = Net,
    dropout: float = 0.0,
    optimizer: str = "momentum",
    schedule: Any = lambda moved: ConstantLR(moved, 1.0, 0),
    faster: float = 0.0,
    **changes: Any,
) -> Member:
    torch.manual_seed(seed)
    model = net(dropout)
    moved = OPTIMIZERS[optimizer](model.parameters())
    moved.param_groups[0]["lr"] *= 1 + faster * seed
    learner = Learner(model, Objective(nn.MSELoss(), SPEC), moved, schedule(moved))
    trainer = replace(TRAINER, epochs=10, **changes)
    return Member(learner, rows(43), rows(16, seed=1), trainer, seed, Progress())


def histories(engine: Any, members: list[Member]) -> list[list[EpochRow | Diverged]]:
    found: dict[int, list[EpochRow | Diverged]] = {id(one): [] for one in members}
    for results in fit(members, engine, by_torch):
        for one, row in results:
            found[id(one)].append(row)
    return list(found.values())


def assert_members_are_lone_runs(count: int = 4, **settings: Any) -> None:
    together = [member(seed, **settings) for seed in range(count)]
    alone = [member(seed, **settings) for seed in range(count)]
    for one, rows_together in zip(alone, histories(Stacked(), together), strict=True):
        (rows_alone,) = histories(Autograd(), [one])
        assert len(rows_together) == len(rows_alone)
        for row, wanted in zip(rows_together, rows_alone, strict=True):
            assert isinstance(row, dict)
            assert isinstance(wanted, dict)
            assert row["step"] == wanted["step"]
            assert row["train/loss"] == pytest.approx(wanted["train/loss"], abs=TOLERANCE)
    for one, other in zip(alone, together, strict=True):
        for p, q in zip(*(m.learner.model.parameters() for m in (one, other)), strict=True):
            assert torch.allclose(p, q, atol=TOLERANCE)
        state, there = (m.learner.optimizer.state_dict()["state"] for m in (one, other))
        for number, entries in state.items():
            for name, value in entries.items():
                if isinstance(value, torch.Tensor):
                    assert torch.allclose(value, there[number][name], atol=TOLERANCE), name


@pytest.mark.parametrize("optimizer", ["adamw", *slow("sgd", "momentum", "rmsprop", "adagrad")])
@pytest.mark.parametrize("net", [Net, Image])
@pytest.mark.slow
def test_a_member_of_every_kind_of_model_is_its_lone_run(net, optimizer):
    assert_members_are_lone_runs(net=net, optimizer=optimizer)


@pytest.mark.parametrize(
    "settings",
    [
        {"accumulate": 3, "dropout": 0.4, "clip_norm": 0.5, "l1": 0.01},
        {"patience": 2, "min_delta": 0.05},
        *slow({"dropout": 0.4}, {"clip_norm": 0.5}, {"clip_value": 0.05}),
        *slow({"l1": 0.01, "l2": 0.01}, {"limit_batches": 2}),
    ],
    ids=str,
)
@pytest.mark.slow
def test_every_setting_holds_for_each_member(settings):
    assert_members_are_lone_runs(**settings)


@pytest.mark.parametrize("optimizer", ["adamw", *slow("sgd", "momentum", "rmsprop", "adagrad")])
def test_members_may_differ_in_their_rates(optimizer):
    assert_members_are_lone_runs(optimizer=optimizer, faster=0.7)


def test_a_plateau_slows_each_member_in_its_own_time():
    def plateau(moved: Any) -> ReduceLROnPlateau:
        return ReduceLROnPlateau(moved, patience=0, threshold=0.1)

    assert_members_are_lone_runs(schedule=plateau, faster=0.7)


def test_schedules_that_cycle_the_momentum_move_all_members():
    assert_members_are_lone_runs(schedule=lambda moved: OneCycleLR(moved, 0.02, total_steps=70))


def test_members_that_were_stopped_go_on_together():
    whole = [member(seed) for seed in range(4)]
    wanted = histories(Stacked(), whole)
    halves = [member(seed) for seed in range(4)]
    first = [replace(one, trainer=replace(one.trainer, epochs=5)) for one in halves]
    found = [
        a + b
        for a, b in zip(histories(Stacked(), first), histories(Stacked(), halves), strict=True)
    ]
    for rows_found, rows_wanted in zip(found, wanted, strict=True):
        for row, other in zip(rows_found, rows_wanted, strict=True):
            assert isinstance(row, dict)
            assert isinstance(other, dict)
            assert row["train/loss"] == other["train/loss"]


def test_a_member_that_diverges_leaves_the_others_as_they_are():
    members = [member(seed) for seed in range(4)]
    poisoned = rows(43)
    poisoned.inputs[20] = math.nan
    members[2] = replace(members[2], train=Features(poisoned.inputs, poisoned.targets))
    before = members[2].learner.model.state_dict()
    found = histories(Stacked(), members)
    assert isinstance(found[2][-1], Diverged)
    assert "the training loss is nan in epoch 1" in str(found[2][-1])
    assert all(weight.isfinite().all() for weight in before.values())
    wanted = histories(Autograd(), [member(3)])[0]
    row, other = found[3][-1], wanted[-1]
    assert isinstance(row, dict)
    assert isinstance(other, dict)
    assert row["train/loss"] == pytest.approx(other["train/loss"], abs=TOLERANCE)


def with_model(*layers: nn.Module) -> list[Member]:
    found = [member(seed) for seed in range(4)]
    learner = replace(found[0].learner, model=nn.Sequential(*layers))
    return [replace(found[0], learner=learner), *found[1:]]


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        (lambda: [member(seed) for seed in range(3)], "stacking pays off from 4 members on"),
        (lambda: with_model(nn.BatchNorm1d(3)), "BatchNorm1d keeps running statistics"),
        (
            lambda: [member(seed, net=Image) for seed in range(4)],
            "convolutions on a CPU are not faster",
        ),
        (
            lambda: [*(member(seed) for seed in range(3)), member(3, optimizer="sgd")],
            "differ in more than the learning rate",
        ),
        (
            lambda: [*(member(s) for s in range(3)), replace(member(3), train=rows(42))],
            "different numbers of rows",
        ),
        (lambda: [member(seed, dropout=0.5) for seed in range(4)], ""),
    ],
)
def test_members_are_stacked_where_it_works_and_pays(members, reason):
    message = why_not(members())
    assert reason in message
    assert bool(message) == bool(reason)


OWN = """
from torch import nn


class Branch(nn.Module):
    def forward(self, outputs, targets):
        errors = (outputs - targets).square()
        return errors.mean() if errors.max().item() >= 0 else errors.sum()
"""


@pytest.mark.parametrize("loss", ["branch", "mse"])
@pytest.mark.slow
def test_an_own_loss_that_cannot_be_vectorised_is_trained_member_by_member(mlrun, write_csv, loss):
    write_csv("losses3.py", OWN)
    write_csv("conf/loss/branch.yaml", "# own\n_target_: losses3.Branch\n")
    words = ("seeds=4", "trainer.epochs=2", "trainer.engine=autograd", "allow=[losses3.*]")
    answer = mlrun("task=covid", f"loss={loss}", *words)
    assert answer.code == 0
    assert ("Branch cannot be vectorised" in answer.out) is (loss == "branch")
