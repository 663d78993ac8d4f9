"""Canaries: each name that training/torch_private.py takes from torch.

A test that fails after an upgrade names the release and what it changed.
"""

import subprocess
import sys
import warnings

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import StepLR

from mlrun.training import torch_private


def changed(what: str) -> str:
    """The message of a failing canary."""
    version = torch.__version__
    return f"torch {version} changed {what}: adapt src/mlrun/training/torch_private.py"


def test_a_schedule_does_not_warn_when_its_optimizers_steps_are_taken_elsewhere():
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = StepLR(optimizer, 1)
    torch_private.will_step(optimizer)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        schedule.step()
    assert not warned, changed("how a schedule detects steps (_opt_called)")


def test_many_tensors_are_copied_and_measured_at_once():
    originals = [torch.arange(3.0), torch.ones(2, 2)]
    copies = [torch.zeros(3), torch.zeros(2, 2)]
    torch_private.copy_tensors(copies, originals)
    assert all(map(torch.equal, copies, originals)), changed("torch._foreach_copy_")
    norms = torch_private.norms_of(originals)
    assert [float(norm) for norm in norms] == pytest.approx([5**0.5, 2.0]), changed(
        "torch._foreach_norm"
    )


@pytest.mark.slow
def test_optimizers_do_not_import_the_compiler():
    code = """
import sys, torch
from mlrun.training.torch_private import import_optimizers_without_compiler
import_optimizers_without_compiler()
optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])
optimizer.zero_grad()
optimizer.state_dict()
print("torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n", changed(
        "how optimizers import its compiler (torch/_compile.py)"
    )


def test_batch_norm_of_every_dimension_has_the_base():
    layers = (nn.BatchNorm1d(1), nn.BatchNorm2d(1), nn.BatchNorm3d(1))
    known = [isinstance(layer, torch_private.BatchNorm) for layer in layers]
    assert all(known), changed("nn.modules.batchnorm._BatchNorm")


def test_errors_of_the_compiler_are_known():
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor.exc import InductorError

    assert torch_private.is_from_compiler(TorchDynamoException("a")), changed("dynamo's errors")
    assert InductorError.__module__.startswith("torch._inductor"), changed("inductor's errors")
    assert not torch_private.is_from_compiler(RuntimeError("c"))


def test_the_compilers_options_are_known():
    options = torch_private.compiler_options("reduce-overhead")
    assert options == {"triton.cudagraphs": True, "cpp_cache_precompile_headers": False}, changed(
        "the options of its compiler"
    )


def test_a_copied_schedule_moves_by_itself():
    weight = nn.Parameter(torch.zeros(2))
    optimizer = Adam([weight], lr=1.0)
    weight.grad = torch.ones(2)
    optimizer.step()
    schedule = StepLR(optimizer, 1, gamma=0.5)
    own = torch_private.schedule_of_its_own(schedule, optimizer)
    own.step()
    rates = [one.optimizer.param_groups[0]["lr"] for one in (schedule, own)]
    assert rates == [1.0, 0.5], changed("how schedules hold their optimizer")
    assert own.optimizer.param_groups[0]["params"][0] is weight


def test_a_parameter_lives_in_the_numbers_it_is_placed_in():
    parameter, numbers = nn.Parameter(torch.zeros(2, 3)), torch.arange(6.0)
    torch_private.move_into(parameter, numbers)
    numbers[5] = 7.0
    assert parameter.shape == (2, 3)
    assert parameter[1, 2].item() == 7.0, changed("Parameter.data")


def test_losses_have_the_base_that_the_allow_list_names():
    kinds = (nn.MSELoss, nn.CrossEntropyLoss, nn.BCEWithLogitsLoss, nn.HuberLoss)
    assert all(issubclass(kind, nn.modules.loss._Loss) for kind in kinds), changed("nn's losses")
