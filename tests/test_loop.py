"""The training loop, around either engine: it learns, repeats itself, stops when it should."""

import copy
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import ConstantLR, LinearLR, OneCycleLR, ReduceLROnPlateau, StepLR

from mlrun.config.schema import Trainer
from mlrun.data.dataset import Spec
from mlrun.errors import Diverged, MlrunError
from mlrun.models.dropout import Dropout
from mlrun.training.engines import autograd
from mlrun.training.engines.autograd import Autograd, outputs_by_torch
from mlrun.training.engines.base import Engine
from mlrun.training.engines.choose import choose_engine
from mlrun.training.engines.native.engine import Native, outputs_by_kernel
from mlrun.training.loop import EpochRow, encoded, fit, score_outputs
from mlrun.training.objective import Objective
from mlrun.training.schedule import step_sizes
from mlrun.training.types import Features, Learner, Member, Progress
from tests import faults

SPEC = Spec("regression", (3,), 1, target="y")
TRAINER = Trainer(
    epochs=10,
    batch_size=8,
    patience=None,
    min_delta=0.0,
    monitor="valid/loss",
    mode="auto",
    eval_every=1,
    clip_norm=None,
    clip_value=None,
    accumulate=1,
    l1=0.0,
    l2=0.0,
    engine="auto",
    precision="32",
    compile=False,
    limit_batches=None,
    max_minutes=None,
    shuffle=True,
    deterministic=True,
    member_memory=2.0,
    profile=False,
)


def rows(count: int, seed: int = 0) -> Features:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 3, generator=generator)
    return Features(inputs, inputs @ torch.tensor([[1.0], [-2.0], [0.5]]) + 0.3)


def learner(*, dropout: float = 0.0, lr: float = 0.05, optimizer: Any = SGD) -> Learner:
    torch.manual_seed(0)
    dropouts = [Dropout(dropout)] if dropout else []
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), *dropouts, nn.Linear(8, 1))
    moved = optimizer(model.parameters(), lr=lr)
    return Learner(model, Objective(nn.MSELoss(), SPEC), moved, ConstantLR(moved, 1.0, 0))


@pytest.fixture(params=[Autograd, Native])
def engine(request: pytest.FixtureRequest) -> Engine:
    made: Engine = request.param()
    return made


def member(
    learner: Learner,
    train: Features,
    progress: Progress | None = None,
    seed: int = 0,
    **changes: Any,
) -> Member:
    trainer = replace(TRAINER, **changes)
    train = encoded(learner.objective, train)
    return Member(learner, train, rows(16, seed=1), trainer, seed, progress or Progress())


def fitted(engine: Engine, one: Member) -> list[EpochRow]:
    outputs = outputs_by_kernel if engine.name == "native" else by_torch
    results = []
    for [(_, result)] in fit([one], engine, outputs):
        if isinstance(result, Diverged):
            raise result
        results.append(result)
    return results


def by_torch(model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    return outputs_by_torch(model, inputs, "32")


def history(
    engine: Engine, with_learner: Learner | None = None, seed: int = 0, **changes: Any
) -> list[EpochRow]:
    predictor = fitted(engine, member(with_learner or learner(), rows(40), seed=seed, **changes))
    return [{k: v for k, v in row.items() if k != "seconds"} for row in predictor]


def test_the_loss_falls_to_less_than_a_tenth(engine):
    losses = [row["valid/loss"] for row in history(engine, epochs=60)]
    assert losses[-1] < losses[0] / 10


def test_the_same_seed_gives_the_same_history_and_another_seed_another(engine):
    first = history(engine, learner(dropout=0.3))
    assert first == history(engine, learner(dropout=0.3))
    assert first != history(engine, learner(dropout=0.3), seed=1)


def test_an_epoch_does_not_depend_on_random_numbers_drawn_before_it(engine):
    first = history(engine, learner(dropout=0.3))
    disturbed = learner(dropout=0.3)
    torch.rand(1000)
    assert history(engine, disturbed) == first


def test_the_training_loss_is_the_mean_over_rows_also_with_a_ragged_last_batch(engine):
    frozen = learner(lr=1e-30)
    row = history(engine, frozen, epochs=1, batch_size=12)[0]  # 12, 12, 12, 4
    with torch.no_grad():
        whole = nn.functional.mse_loss(frozen.model(rows(40).inputs), rows(40).targets)
    assert row["train/loss"] == pytest.approx(whole.item(), rel=1e-5)


def test_accumulating_batches_takes_the_step_of_one_large_batch(engine):
    small, large = learner(), learner()
    history(engine, small, epochs=1, batch_size=12, accumulate=4, shuffle=False)
    history(engine, large, epochs=1, batch_size=40, shuffle=False)
    for one, other in zip(small.model.parameters(), large.model.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_steps_are_counted_with_limits_and_accumulation(engine):
    assert [row["step"] for row in history(engine, epochs=2)] == [5, 10]
    assert [row["step"] for row in history(engine, epochs=2, limit_batches=3)] == [3, 6]
    assert [row["step"] for row in history(engine, epochs=2, accumulate=2)] == [3, 6]
    assert step_sizes(40, replace(TRAINER, limit_batches=3, accumulate=2)) == [[8, 8], [8]]


def test_early_stopping_counts_epochs_without_improvement(engine):
    assert len(history(engine, learner(lr=1e-30), epochs=50, patience=3)) == 4


def test_min_delta_makes_small_improvements_not_count(engine):
    assert len(history(engine, epochs=50, patience=3, min_delta=1e9)) == 4


def test_the_best_epoch_is_the_best_whatever_min_delta(engine):
    progress = Progress()
    losses = [
        row["valid/loss"]
        for row in fitted(engine, member(learner(), rows(40), progress, min_delta=1e9))
    ]
    assert progress.best_epoch == losses.index(min(losses)) + 1 > 1
    assert progress.best_score == min(losses)


def test_validation_every_third_epoch_and_always_at_the_end(engine):
    validated = [
        row["epoch"] for row in history(engine, epochs=7, eval_every=3) if "valid/loss" in row
    ]
    assert validated == [3, 6, 7]


def test_the_best_epoch_is_the_one_with_the_lowest_score(engine):
    progress = Progress()
    predictor = fitted(engine, member(learner(lr=0.2), rows(40), progress))
    losses = [row["valid/loss"] for row in predictor]
    assert progress.best_score == min(losses)
    assert progress.best_epoch == losses.index(min(losses)) + 1
    assert losses != sorted(losses, reverse=True)  # it did rise in between


def test_a_score_that_should_rise_is_maximised(engine):
    progress = Progress()
    predictor = fitted(engine, member(learner(), rows(40), progress, monitor="valid/r2"))
    scores = [row["valid/r2"] for row in predictor]
    assert progress.best_score == max(scores)


@faults.not_finite
def test_training_stops_before_the_step_when_the_loss_is_not_finite(engine):
    exploding = learner()
    poisoned = rows(40)
    poisoned.inputs[0] = math.inf
    before = copy.deepcopy(exploding.model.state_dict())
    with pytest.raises(Diverged, match=r"epoch 1, after step 0.*optimizer\.lr"):
        fitted(engine, member(exploding, poisoned, batch_size=40))
    assert all(torch.equal(before[k], v) for k, v in exploding.model.state_dict().items())


@faults.not_finite
@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_training_stops_before_the_step_when_a_gradient_is_not_finite(engine, clip_norm):
    exploding, far = learner(), rows(2)
    far.targets[:] = 1.5e19  # its square is a number, the square of the gradient is none
    before = copy.deepcopy(exploding.model.state_dict())
    with pytest.raises(Diverged, match=r"norm of the gradients is inf in epoch 1, after step 0"):
        fitted(engine, member(exploding, far, batch_size=1, clip_norm=clip_norm))
    assert all(torch.equal(before[k], v) for k, v in exploding.model.state_dict().items())


@pytest.mark.parametrize("changes", [{"clip_norm": 1e-6}, {"clip_value": 1e-6}])
def test_clipping_bounds_the_step(engine, changes):
    clipped = learner(lr=1.0)
    before = copy.deepcopy(clipped.model.state_dict())
    history(engine, clipped, epochs=1, batch_size=40, **changes)
    moved = [(before[k] - v).abs().max() for k, v in clipped.model.state_dict().items()]
    assert 0 < max(moved) <= 1.1e-6


def test_the_l1_penalty_pulls_weights_to_zero_and_is_not_in_the_reported_loss(engine):
    plain, pulled = learner(), learner()
    first = history(engine, plain, epochs=30)[0]["train/loss"]
    assert history(engine, pulled, epochs=30, l1=0.5)[0]["train/loss"] == pytest.approx(
        first, rel=0.2
    )
    before, after = (next(each.model.parameters()).abs().sum() for each in (plain, pulled))
    assert after < before / 2


def rates(engine: Engine, make_scheduler: Any, **changes: Any) -> list[float]:
    predictor = learner(lr=1.0, optimizer=Adam)
    scheduled = replace(predictor, scheduler=make_scheduler(predictor.optimizer))
    return [round(row["lr"], 4) for row in history(engine, scheduled, epochs=4, **changes)]


def test_epoch_schedulers_advance_once_an_epoch(engine):
    assert rates(engine, lambda optimizer: StepLR(optimizer, 2, 0.1)) == [1.0, 1.0, 0.1, 0.1]


def test_step_schedulers_advance_every_step(engine):
    assert rates(engine, lambda o: LinearLR(o, 0.5, 1.0, total_iters=10)) == [0.5, 0.75, 1.0, 1.0]


def test_onecycle_ends_with_the_run(engine):
    found = rates(
        engine, lambda o: OneCycleLR(o, max_lr=1.0, epochs=4, steps_per_epoch=5, pct_start=0.3)
    )
    assert max(found) > 0.9
    assert found[-1] < 0.4


def test_plateau_watches_the_validation_loss(engine):
    still = learner(lr=1e-6)  # improves by less than the threshold
    plateau = ReduceLROnPlateau(still.optimizer, factor=0.5, patience=1, threshold=0.1, eps=0.0)
    found = [row["lr"] for row in history(engine, replace(still, scheduler=plateau), epochs=5)]
    assert found == [1e-6, 1e-6, 1e-6, 5e-7, 5e-7]


def test_scores_do_not_depend_on_the_batch_size():
    predictor, valid = learner(), rows(16, 1)
    result = score_outputs(
        predictor.objective, by_torch(predictor.model, valid.inputs), valid.targets
    )
    assert result.values["loss"] == pytest.approx(result.values["mse"], rel=1e-6)
    assert result.predictions.shape == (16, 1)


def test_bfloat16_changes_the_outputs_a_little():
    predictor, inputs = learner(), rows(16).inputs
    exact, rough = (
        outputs_by_torch(predictor.model, inputs, precision) for precision in ("32", "bf16")
    )
    assert exact.dtype == rough.dtype == torch.float32
    assert not torch.equal(exact, rough)
    assert torch.allclose(exact, rough, atol=0.05)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # torch's compiler uses what torch has deprecated
def test_a_compiled_model_learns_what_the_plain_one_does():
    plain = history(Autograd(), learner(dropout=0.3), accumulate=2)
    compiled = history(Autograd(), learner(dropout=0.3), accumulate=2, compile=True)
    for one, other in zip(plain, compiled, strict=True):
        assert one == pytest.approx(other, rel=1e-5)


def test_without_a_compiler_no_model_is_compiled(monkeypatch, tmp_path):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MlrunError, match=r"trainer\.compile=true: there is no C\+\+ compiler"):
        choose_engine(learner(), replace(TRAINER, compile=True))


def test_a_device_that_is_read_once_an_epoch_diverges_at_the_same_step(monkeypatch):
    at_once = raised_by(Autograd(), lr=1e5)
    monkeypatch.setattr(autograd, "ANSWERS_AT_ONCE", ())
    assert raised_by(Autograd(), lr=1e5) == at_once


def raised_by(engine: Engine, *, lr: float) -> str:
    with pytest.raises(Diverged) as raised:
        history(engine, learner(lr=lr))
    return str(raised.value)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_run_on_cuda_learns_the_same(engine):
    moved = learner()
    moved.model.cuda()
    data = rows(40)
    on_gpu = Features(data.inputs.cuda(), data.targets)
    one = member(moved, on_gpu)
    valid = Features(one.valid.inputs.cuda(), one.valid.targets)
    found = fitted(Autograd(), replace(one, valid=valid))[-1]["valid/loss"]
    assert found == pytest.approx(history(Autograd())[-1]["valid/loss"], rel=1e-3)
