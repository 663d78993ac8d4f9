"""The native engine against autograd, against itself, and at the edges of its kernel."""

import ctypes
import itertools
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import platformdirs
import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
)

from mlrun.errors import MlrunError
from mlrun.models.dropout import Dropout
from mlrun.models.layers import ACTIVATIONS
from mlrun.runs.folder import open_run
from mlrun.runs.rerun import compare
from mlrun.training.engines.autograd import Autograd, outputs_by_torch
from mlrun.training.engines.choose import choose_engine
from mlrun.training.engines.native import calls, compiler, interface, library
from mlrun.training.engines.native.engine import Native, outputs_by_kernel
from mlrun.training.engines.native.network import Unsupported, network_of
from mlrun.training.loop import fit
from mlrun.training.objective import Objective
from mlrun.training.types import Features, Learner, Member, Progress
from tests.test_loop import SPEC, TRAINER

TOP = Path(__file__).parents[1]
CLASSES = replace(SPEC, kind="classification", out_features=3, classes=("a", "b", "c"))
LOSSES: dict[str, Callable[[], nn.Module]] = {
    "mse": nn.MSELoss,
    "mae": nn.L1Loss,
    "huber": lambda: nn.HuberLoss(delta=0.7),
    "smooth_l1": lambda: nn.SmoothL1Loss(beta=0.7),
    "cross_entropy": nn.CrossEntropyLoss,
    "smoothed": lambda: nn.CrossEntropyLoss(label_smoothing=0.1),
    "bce_with_logits": nn.BCEWithLogitsLoss,
}
OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.02),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.01),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, betas=(0.8, 0.95), weight_decay=0.1),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.005, alpha=0.9, weight_decay=0.01),
    "rmsprop_momentum": lambda p: torch.optim.RMSprop(p, lr=0.002, momentum=0.5),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.05, lr_decay=0.01, weight_decay=0.01),
}
NATIVE_ACTIVATIONS = sorted({*ACTIVATIONS} - {"prelu", "rrelu"})


def learner(
    *,
    sizes: tuple[int, ...] = (5, 19, 7),
    activation: str = "tanh",
    loss: str = "mse",
    optimizer: str = "momentum",
    dropout: float = 0.0,
) -> Learner:
    objective = Objective(LOSSES[loss](), SPEC if loss in list(LOSSES)[:4] else CLASSES)
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), ACTIVATIONS[activation]()]
        layers += [Dropout(dropout)] if dropout else []
    model = nn.Sequential(*layers, nn.Linear(sizes[-1], objective.out_features))
    moved = OPTIMIZERS[optimizer](model.parameters())
    return Learner(model, objective, moved, ConstantLR(moved, 1.0, 0))


def member(predictor: Learner, *, rows: int = 53, seed: int = 0, **changes: Any) -> Member:
    """53 rows in batches of 10: the last one has 3, so 50 steps are 9 epochs."""
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(rows, network_of(predictor.model).sizes[0], generator=generator)
    targets = torch.randn(rows, 1, generator=generator)
    if predictor.objective.spec is CLASSES:
        targets = torch.randint(3, (rows,), generator=generator)
    train = Features(inputs, predictor.objective.encode(targets))
    trainer = replace(TRAINER, **({"batch_size": 10} | changes))
    return Member(predictor, train, train, trainer, seed, Progress())


def train(engine: Any, *members: Member, epochs: int = 9) -> list[list[float]]:
    engine.begin(members)
    losses = []
    for epoch in range(1, epochs + 1):
        for one in members:
            one.progress.epoch = epoch
        losses.append([one.loss for one in engine.train_epoch(members, lambda: None)])
    return losses


def assert_alike(first: Learner, second: Learner, *, tolerance: float) -> None:
    """Weights and optimizer states; torch's layout and names on both sides."""
    for one, other in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.allclose(one, other, atol=tolerance), (one - other).abs().max()
    states, others = first.optimizer.state_dict(), second.optimizer.state_dict()
    for group in (*states["param_groups"], *others["param_groups"]):
        group.pop("fused", None)  # of torch's own steps alone
    assert states["param_groups"] == others["param_groups"]
    for number, state in states["state"].items():
        for name, value in state.items():
            there = others["state"][number][name]
            assert value is there or torch.allclose(value, there, atol=tolerance), name


def assert_engines_agree(tolerance: float = 1e-4, **settings: Any) -> None:
    """After 50 steps, to a few hundred roundings of float32 (6e-8 of a number each).

    Over all combinations below the largest difference of a weight is 4e-5, half are below 1e-7;
    the large ones are Adam's and RMSprop's, which divide small differences by small roots.
    """
    changes = {key: settings.pop(key) for key in list(settings) if key in vars(TRAINER)}
    first = learner(**settings)
    second = learner(**settings)
    losses = torch.tensor(train(Native(), member(first, **changes)))
    wanted = torch.tensor(train(Autograd(), member(second, **changes)))
    assert torch.allclose(losses, wanted, atol=tolerance)
    assert_alike(first, second, tolerance=tolerance)


@pytest.mark.parametrize("activation", NATIVE_ACTIVATIONS)
def test_every_activation_learns_as_in_autograd(activation):
    assert_engines_agree(activation=activation)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_learns_as_in_autograd(loss):
    assert_engines_agree(loss=loss)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_learns_as_in_torch(optimizer):
    assert_engines_agree(optimizer=optimizer)


@pytest.mark.slow
@pytest.mark.parametrize("activation", NATIVE_ACTIVATIONS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_combination_learns_as_in_autograd(activation, loss, optimizer):
    assert_engines_agree(activation=activation, loss=loss, optimizer=optimizer)


@pytest.mark.parametrize(
    "changes",
    [
        {"clip_norm": 0.1},
        {"clip_value": 0.01},
        {"accumulate": 3},
        {"l1": 0.01, "l2": 0.02},
        {"batch_size": 53},
        {"batch_size": 1, "limit_batches": 6},
        {"limit_batches": 2},
        {"shuffle": False},
    ],
    ids=str,
)
def test_every_setting_of_the_trainer_is_honoured_as_in_autograd(changes):
    assert_engines_agree(**changes)


@pytest.mark.parametrize("changes", [{}, {"accumulate": 3}])
def test_dropout_has_the_same_masks_in_both_engines(changes):
    assert_engines_agree(dropout=0.4, **changes)


@pytest.mark.parametrize(
    "make",
    [
        lambda moved: OneCycleLR(moved, max_lr=0.05, total_steps=54),  # cycles the momentum too
        lambda moved: LinearLR(moved, 0.1, 1.0, total_iters=20),
    ],
)
@pytest.mark.parametrize("optimizer", ["momentum", "adamw"])
def test_schedules_that_count_steps_move_both_engines_alike(make, optimizer):
    first, second = (
        replace(one, scheduler=make(one.optimizer))
        for one in (learner(optimizer=optimizer), learner(optimizer=optimizer))
    )
    train(Native(), member(first))
    train(Autograd(), member(second))
    assert_alike(first, second, tolerance=2e-5)
    assert first.scheduler.state_dict() == second.scheduler.state_dict()


@pytest.mark.parametrize(
    ("sizes", "rows"),
    [((1,), 1), ((1, 1), 2), ((10_000, 3), 4), ((17, 16, 33), 7), ((3, 100), 300)],
    ids=str,
)
def test_odd_shapes_learn_as_in_autograd(sizes, rows):
    first, second = learner(sizes=sizes), learner(sizes=sizes)
    train(Native(), member(first, rows=rows), epochs=2)
    train(Autograd(), member(second, rows=rows), epochs=2)
    assert_alike(first, second, tolerance=1e-4 if sizes[0] == 10_000 else 2e-5)


def test_a_member_among_others_on_two_threads_has_the_bits_of_its_lone_run():
    alone, together = (
        [learner(dropout=0.2, optimizer=name) for name in OPTIMIZERS] for _ in range(2)
    )
    for seed, one in enumerate(alone):
        train(Native(), member(one, seed=seed))
    train(Native(), *(member(one, seed=seed) for seed, one in enumerate(together)))
    for one, other in zip(alone, together, strict=True):
        assert_alike(one, other, tolerance=0.0)


def test_steps_shared_by_threads_have_the_bits_of_one_thread(monkeypatch):
    alone, shared = (learner(sizes=(300, 400), dropout=0.2, optimizer="adam") for _ in range(2))
    for cores, predictor in ((1, alone), (4, shared)):
        monkeypatch.setattr(
            "mlrun.training.engines.native.engine.usable_cores", lambda cores=cores: cores
        )
        one = member(predictor, rows=200, batch_size=64, clip_norm=0.1, l1=0.01)
        train(Native(), one, epochs=3)
    assert_alike(alone, shared, tolerance=0.0)


def test_an_epoch_in_several_calls_has_the_bits_of_one_call(monkeypatch):
    first, second = learner(dropout=0.2), learner(dropout=0.2)
    train(Native(), member(first))
    monkeypatch.setattr("mlrun.training.engines.native.engine.A_CALL", 1)
    train(Native(), member(second))
    assert_alike(first, second, tolerance=0.0)


SCHEDULES: dict[str, Callable[[torch.optim.Optimizer], LRScheduler]] = {
    "constant": lambda moved: ConstantLR(moved, 1.0, 0),
    "cosine": lambda moved: CosineAnnealingLR(moved, T_max=40),
    "onecycle": lambda moved: OneCycleLR(moved, max_lr=0.05, total_steps=300),
    "plateau": lambda moved: ReduceLROnPlateau(moved, patience=1, threshold=0.1),
    "of the user's own": lambda moved: LambdaLR(moved, lambda epoch: 1 / (1 + epoch)),
}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_epochs_computed_ahead_have_the_bits_of_epochs_computed_in_turn(schedule, monkeypatch):
    ahead = fitted_with(schedule, eval_every=2, patience=20)
    monkeypatch.setattr("mlrun.training.engines.native.engine.A_CALL", 1)
    in_turn = fitted_with(schedule, eval_every=2, patience=20)
    assert ahead == in_turn


def fitted_with(schedule: str, **changes: Any) -> tuple[list[Any], list[list[float]]]:
    """History and weights after 50 epochs."""
    predictor = learner(dropout=0.2, optimizer="adam")
    predictor = replace(predictor, scheduler=SCHEDULES[schedule](predictor.optimizer))
    one = member(predictor, epochs=50, **changes)
    rows = [row for [(_, row)] in fit([one], Native(), outputs_by_kernel) if isinstance(row, dict)]
    history = [{key: value for key, value in row.items() if key != "seconds"} for row in rows]
    return history, [p.flatten().tolist() for p in predictor.model.parameters()]


def test_a_step_that_diverges_ahead_of_its_turn_does_so_in_its_turn(monkeypatch):
    ahead = diverged_with(lr=2.0)
    monkeypatch.setattr("mlrun.training.engines.native.engine.A_CALL", 1)
    assert ahead == diverged_with(lr=2.0)
    assert "epoch 1," not in ahead[0]


def diverged_with(*, lr: float) -> tuple[str, list[list[float]]]:
    """The message, and the weights before the step that failed."""
    predictor = changed(learner(optimizer="sgd"), lr=lr)
    *_, [(_, error)] = fit([member(predictor)], Native(), outputs_by_kernel)
    return str(error), [p.flatten().tolist() for p in predictor.model.parameters()]


def test_a_run_that_stops_early_leaves_threads_to_finish_in_peace():
    for _ in fit([member(learner(), epochs=1000)], Native(), outputs_by_kernel):
        break


@pytest.mark.parametrize("activation", NATIVE_ACTIVATIONS)
def test_outputs_are_those_of_torch_and_a_rows_depend_on_no_other_row(activation):
    predictor = learner(activation=activation, sizes=(5, 33, 7))
    inputs = torch.randn(600, 5) * 4
    found = outputs_by_kernel(predictor.model, inputs)
    assert torch.allclose(found, outputs_by_torch(predictor.model, inputs, "32"), atol=2e-6)
    for start, end in ((0, 1), (1, 3), (255, 258), (7, 600)):
        assert torch.equal(outputs_by_kernel(predictor.model, inputs[start:end]), found[start:end])


@pytest.mark.parametrize("activation", NATIVE_ACTIVATIONS)
def test_large_and_missing_numbers_give_the_same_result_as_torch(activation):
    predictor = learner(activation=activation, sizes=(1, 1))
    with torch.no_grad():
        for parameter in predictor.model.parameters():
            parameter.fill_(1.0)
    inputs = torch.tensor([[-1e30], [-200.0], [-90.0], [0.0], [90.0], [200.0], [torch.nan]])
    found = outputs_by_kernel(predictor.model, inputs)
    wanted = outputs_by_torch(predictor.model, inputs, "32")
    assert torch.allclose(found, wanted, atol=1e-6, equal_nan=True)


# --- what it takes ---


def chosen(predictor: Learner, **changes: Any) -> tuple[str, str]:
    engine, reason = choose_engine(predictor, replace(TRAINER, **changes))
    return engine.name, reason


def changed(predictor: Learner, **settings: Any) -> Learner:
    predictor.optimizer.param_groups[0].update(settings)
    return predictor


def with_layers(*layers: nn.Module) -> Learner:
    predictor = learner()
    return replace(predictor, model=nn.Sequential(nn.Linear(5, 4), *layers, nn.Linear(4, 1)))


class Doubled(nn.Sequential):
    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(torch.mul(inputs, 2))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("predictor", "reason"),
    [
        (
            lambda: replace(learner(), model=Doubled(nn.Linear(5, 1))),
            "the kernel does not support Doubled",
        ),
        (lambda: with_layers(nn.BatchNorm1d(4)), "the kernel does not support BatchNorm1d"),
        (lambda: with_layers(nn.PReLU()), "the kernel does not support PReLU"),
        (lambda: with_layers(nn.ELU(alpha=2.0)), "the kernel does not support alpha=2.0"),
        (lambda: with_layers(nn.Tanh(), nn.Linear(4, 4), nn.ReLU()), "its hidden layers differ"),
        (lambda: with_layers(Dropout(0.5)), "its layers are not linear, activation"),
        (lambda: replace(learner(), objective=Objective(nn.NLLLoss(), CLASSES)), "NLLLoss"),
        (
            lambda: changed(learner(optimizer="adam"), amsgrad=True),
            "the kernel does not support amsgrad=True",
        ),
        (
            lambda: changed(learner(optimizer="adam"), eps=0),
            "the kernel does not support optimizer.eps=0",
        ),
    ],
)
def test_what_the_kernel_lacks_is_trained_by_autograd_and_named(predictor, reason):
    name, message = chosen(predictor())
    assert (name, reason in message) == ("autograd", True)
    with pytest.raises(MlrunError, match=r"trainer\.engine=native: .*trainer\.engine=auto"):
        chosen(predictor(), engine="native")


def test_the_native_engine_is_used_where_possible_unless_configured_otherwise():
    assert chosen(learner()) == ("native", "")
    assert chosen(learner(), engine="autograd")[0] == "autograd"
    assert chosen(learner(), precision="bf16")[0] == "autograd"


def test_a_model_of_another_kind_is_refused_with_its_name():
    with pytest.raises(Unsupported, match="the kernel does not support Bilinear"):
        network_of(nn.Bilinear(2, 2, 1))


# --- its library ---


@pytest.fixture
def fresh_cache(tmp_path, monkeypatch):
    """No library yet, and a cache of its own; the folder the library will be in."""
    library.load_kernel.cache_clear()
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda _: tmp_path)
    monkeypatch.setattr(compiler, "FLAGS", (*compiler.FLAGS, "-O0"))  # compiles in a second
    yield tmp_path / "native"
    library.load_kernel.cache_clear()


def test_without_a_compiler_autograd_trains(fresh_cache, monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(fresh_cache))
    assert chosen(learner()) == ("autograd", "there is no C++ compiler (c++, g++ or clang++)")


def test_a_compiler_that_fails_is_reported_and_leaves_nothing(fresh_cache, monkeypatch):
    monkeypatch.setenv("CXX", "false")
    assert chosen(learner()) == ("autograd", "false cannot compile the kernel: exit status 1")
    assert not list(fresh_cache.iterdir())


@pytest.mark.slow
def test_the_library_is_compiled_once_into_a_private_folder(fresh_cache, monkeypatch):
    library.load_kernel()
    (made,) = fresh_cache.iterdir()
    assert stat.S_IMODE(fresh_cache.stat().st_mode) == 0o700
    library.load_kernel.cache_clear()
    monkeypatch.setenv("CXX", "false")
    library.load_kernel()
    assert [made] == list(fresh_cache.iterdir())


@pytest.mark.slow
def test_a_library_that_others_could_have_written_is_compiled_anew(fresh_cache):
    library.load_kernel()
    (made,) = fresh_cache.iterdir()
    made.unlink()  # this process has it mapped
    made.write_bytes(b"not a library")
    made.chmod(0o666)
    library.load_kernel.cache_clear()
    library.load_kernel()
    assert made.read_bytes() != b"not a library"


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_is_done_without(fresh_cache):
    fresh_cache.write_text("a file where the folder should be")
    assert chosen(learner()) == ("native", "")


def test_a_library_of_other_sources_is_refused_with_the_struct_that_differs(monkeypatch):
    class EpochJob(ctypes.Structure):
        _fields_ = (*interface.EpochJob._fields_, ("more", ctypes.c_double))

    monkeypatch.setattr(interface, "STRUCTURES", (EpochJob,))
    library.load_kernel.cache_clear()
    engine, reason = chosen(learner())
    assert engine == "autograd"
    assert reason.endswith("does not fit this mlrun: EpochJob has 112 bytes there, 120 here")


def test_a_library_without_a_function_is_refused_with_its_name(monkeypatch):
    monkeypatch.setitem(interface.FUNCTIONS, "mlrun_of_tomorrow", (None, ()))
    library.load_kernel.cache_clear()
    engine, reason = chosen(learner())
    assert engine == "autograd"
    assert reason.endswith("does not fit this mlrun: it has no mlrun_of_tomorrow")


def test_the_library_contains_its_compiler_and_sources():
    built = library.built()
    assert built.pop("compiler")
    assert built == {
        "hash": compiler.source_hash(),
        "variant": library.variant(),
        "contraction": "-ffp-contract=fast",
    }


def test_the_hash_changes_with_every_file_of_the_kernel(tmp_path, monkeypatch):
    shutil.copytree(compiler.FOLDER, tmp_path / "kernel")
    monkeypatch.setattr(compiler, "FOLDER", tmp_path / "kernel")
    hashes = {compiler.source_hash()}
    for path in compiler.sources():
        path.write_text(path.read_text() + "\n")
        hashes.add(compiler.source_hash())
    assert len(hashes) == 1 + len([*compiler.FOLDER.iterdir()])


def kernel_recorded(run: str) -> Any:
    return json.loads(Path(run, "run.json").read_text())["kernel"]


@pytest.mark.slow
def test_a_run_records_the_kernel_if_one_computes(mlrun):
    mlrun("debug=smoke", "hydra.run.dir=native")
    assert kernel_recorded("native") == library.built()
    mlrun("debug=smoke", "trainer.engine=autograd", "hydra.run.dir=autograd")
    assert kernel_recorded("autograd") is None


def test_a_rerun_that_differs_names_the_kernel_that_differs(mlrun):
    mlrun("debug=smoke", "hydra.run.dir=run")
    shutil.copytree("run", "again")
    record = json.loads(Path("again", "run.json").read_text())
    record["kernel"]["compiler"] = "another compiler"
    Path("again", "run.json").write_text(json.dumps(record))
    Path("again", "pred.csv").write_text("other predictions")
    same, lines = compare(open_run("run"), open_run("again"))
    assert not same
    assert lines[1:] == [f"kernel's compiler: {library.built()['compiler']}, now another compiler"]


def forward_through(width: int) -> None:
    """One row through a network with a hidden layer as wide as this."""
    plan = interface.NetworkPlan(layers=2, sizes=(ctypes.c_int64 * 3)(1, width, 1))
    numbers = torch.zeros(1)
    job = interface.ForwardJob(
        plan=ctypes.pointer(plan), inputs=numbers.data_ptr(), rows=1, outputs=numbers.data_ptr()
    )
    calls.forward(job)


def test_memory_that_runs_out_is_reported():
    with pytest.raises(MemoryError):
        forward_through(2**40)


def test_any_other_exception_in_the_kernel_is_a_fault_of_ours():
    with pytest.raises(RuntimeError, match="a bug in mlrun"):
        forward_through(2**62)  # std::length_error: no vector can be that long


THROWS_IN_A_SHARE = """
#include <stdexcept>
#include "parallel_loops.h"

int main() {
  ParallelLoops loops(2);
  const std::atomic<bool> other_work{false};
  loops.try_join();
  std::thread helper([&] { loops.help(other_work); });
  int caught = 0;
  for (int round = 0; round < 1000; round++) {
    try {
      loops.run(6, MIN_SHARED_WORK, [](size_t from, size_t) {
        if (from == 3) throw std::runtime_error("");
      });
    } catch (const std::runtime_error&) {
      caught++;
    }
  }
  loops.close();
  helper.join();
  return caught != 1000;
}
"""


@pytest.mark.slow
def test_an_exception_in_another_threads_share_reaches_the_thread_of_the_job(tmp_path):
    source, program = tmp_path / "throws.cpp", tmp_path / "throws"
    source.write_text(THROWS_IN_A_SHARE)
    flags = ("-std=c++17", "-pthread", f"-I{compiler.FOLDER}", "-o", str(program))
    subprocess.run([*compiler.command(), *flags, str(source)], check=True)
    assert subprocess.run([program], timeout=60).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("variant", compiler.MARCH)
def test_the_kernel_does_nothing_undefined_and_stays_within_its_memory(variant):
    if [*compiler.MARCH].index(variant) < [*compiler.MARCH].index(library.variant()):
        pytest.skip("this processor has no such instructions")
    chosen = "odd_shapes or outputs_are or large_and or every_setting or every_loss or dropout"
    assert_sanitizers_find_nothing("address,undefined", "libasan.so", variant, f"{chosen} or ahead")


@pytest.mark.slow
def test_the_kernels_threads_do_not_touch_what_others_are_at():
    chosen = "shared_by_threads or among_others or ahead or stops_early"
    assert_sanitizers_find_nothing("thread", "libtsan.so", library.variant(), chosen)


def assert_sanitizers_find_nothing(kinds: str, runtime: str, variant: str, chosen: str) -> None:
    libraries = [library_of_the_compiler(name) for name in (runtime, "libstdc++.so.6")]
    if not all(Path(path).is_absolute() for path in libraries):
        pytest.skip("the compiler has no sanitizers")
    words = [sys.executable, "-m", "pytest", "-q", "-p", "tests.sanitized", __file__, "-k", chosen]
    checked = {
        "LD_PRELOAD": " ".join(libraries),
        "ASAN_OPTIONS": "detect_leaks=0",
        "TSAN_OPTIONS": "halt_on_error=1",
        "PYTHONPATH": os.pathsep.join([str(TOP / "src"), str(TOP)]),
        "SANITIZED": variant,
        "SANITIZERS": kinds,
    }
    found = subprocess.run(words, capture_output=True, text=True, env=os.environ | checked)
    assert found.returncode == 0, found.stdout + found.stderr


def library_of_the_compiler(name: str) -> str:
    words = ["c++", f"-print-file-name={name}"]
    return subprocess.run(words, capture_output=True, text=True).stdout.strip()
