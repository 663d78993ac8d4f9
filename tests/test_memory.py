"""Out of memory: the batch size that would have fitted is named."""

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

from mlrun.errors import MlrunError
from mlrun.training.memory import is_out_of_memory, out_of_memory_explained
from mlrun.training.types import Learner
from tests import faults
from tests.test_loop import TRAINER, learner, rows


class Narrow(nn.Module):
    """Accepts a limited number of rows at once, and fails like the CPU's allocator."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows = rows
        self.linear = nn.Linear(3, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        if len(inputs) > self.rows:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")
        return self.linear(inputs)  # type: ignore[no-any-return]


def narrow(rows: int) -> Learner:
    model = Narrow(rows)
    return Learner(model, learner().objective, SGD(model.parameters(), lr=0.1), None)  # type: ignore[arg-type]


def advice(fits: int, error: Exception) -> str:
    trainer = replace(TRAINER, batch_size=32, accumulate=2)
    with (
        pytest.raises(MlrunError) as raised,
        out_of_memory_explained(narrow(fits), rows(40), trainer),
    ):
        raise error
    return str(raised.value)


@faults.out_of_memory
@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError()])
def test_the_batch_size_that_fits_is_found_by_trying(error):
    assert "trainer.batch_size=8 fits (with trainer.accumulate=8, each step" in advice(10, error)


def test_where_no_row_fits_the_model_is_too_large():
    assert "a batch of one row does not fit either" in advice(0, MemoryError())


def test_other_errors_pass():
    assert not is_out_of_memory(RuntimeError("shapes"))
    with (
        pytest.raises(RuntimeError, match="shapes"),
        out_of_memory_explained(narrow(1), rows(4), TRAINER),
    ):
        raise RuntimeError("shapes")


LIMITED = """
import resource, sys, torch, mlrun.runs.single
from mlrun.cli.main import main
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 700 * 2**20,) * 2)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@faults.out_of_memory
@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_AS")
def test_a_process_that_really_runs_out_of_memory_names_a_batch_size_that_works():
    def run(batch_size: int) -> Any:
        arguments = ["model.hidden=[30000]", f"trainer.batch_size={batch_size}", "trainer.epochs=1"]
        gentle = ("optimizer=sgd", "optimizer.lr=1e-6")
        command = [sys.executable, "-c", LIMITED, *arguments, *gentle]
        return subprocess.run(command, capture_output=True, text=True, timeout=300)

    failed = run(2048)
    assert failed.returncode == 2, failed.stderr
    assert "out of memory on cpu with trainer.batch_size=2048" in failed.stderr
    fitting = int(failed.stderr.partition(": trainer.batch_size=")[2].split()[0])
    assert run(fitting).returncode == 0
