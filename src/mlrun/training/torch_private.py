"""The only file that touches what torch keeps to itself.

Written against torch 2.13.0, the newest that pyproject.toml allows. tests/test_torch_private.py has
a canary for each of these names.
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

BatchNorm = nn.modules.batchnorm._BatchNorm  # the base of those of every dimension
_COMPILER = ("torch._dynamo", "torch._ind")


def will_step(optimizer: Optimizer) -> None:
    """Let the schedules of an optimizer know that its steps are taken elsewhere; else they warn."""
    optimizer._opt_called = True  # type: ignore[attr-defined]


def copy_tensors(copies: Sequence[Tensor], originals: Sequence[Tensor]) -> None:
    """Copy many tensors into others at once; a loop takes several times as long."""
    torch._foreach_copy_(list(copies), list(originals))


def norms_of(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The Euclidean norm of each tensor, computed at once."""
    return list(torch._foreach_norm(list(tensors)))


def import_optimizers_without_compiler() -> None:
    """Keep optimizers from importing torch's compiler, which takes longer than a small run.

    They import it to be left out of what it traces (torch/_compile.py); this marks them as left
    out already, as long as nothing is traced.
    """
    for name in ("add_param_group", "zero_grad", "state_dict", "load_state_dict"):
        method = getattr(getattr(Optimizer, name), "__wrapped__", None)
        if method is not None:
            method.__dynamo_disable = method


def is_from_compiler(error: BaseException) -> bool:
    """Whether torch's compiler raised this error."""
    return type(error).__module__.startswith(_COMPILER)


def schedule_of_its_own(scheduler: LRScheduler, optimizer: Optimizer) -> LRScheduler:
    """A copy of a schedule that moves on by itself, with an optimizer that takes no steps.

    Args:
        scheduler: the original.
        optimizer: of the original; its weights and state are not copied.
    """
    state = optimizer.state  # not needed, and large
    memo = {id(parameter): parameter for parameter in state} | {id(state): state}
    own = copy.deepcopy(scheduler, memo)
    own.optimizer.step = optimizer.step  # type: ignore[method-assign]  # never taken
    will_step(own.optimizer)
    return own


def place_in(parameter: nn.Parameter, numbers: Tensor) -> None:
    """Let a parameter live in these numbers; their shape is made the parameter's.

    Args:
        parameter: any.
        numbers: (n,) as many as it has, contiguous.
    """
    parameter.data = numbers.view_as(parameter)
