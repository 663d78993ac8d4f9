"""The only file that uses private names of torch.

Written for torch 2.13.0, the newest version that pyproject.toml allows. tests/test_torch_private.py
has a canary for each of these names.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

BatchNorm = nn.modules.batchnorm._BatchNorm  # the base class for every dimension
_COMPILER = ("torch._dynamo", "torch._ind")


def will_step(optimizer: Optimizer) -> None:
    """Mark the optimizer as stepped, because otherwise its schedulers warn."""
    optimizer._opt_called = True  # type: ignore[attr-defined]


def copy_tensors(copies: Sequence[Tensor], originals: Sequence[Tensor]) -> None:
    """Copy many tensors at once; several times faster than a loop."""
    torch._foreach_copy_(list(copies), list(originals))


def norms_of(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the Euclidean norm of each tensor, computed at once."""
    return list(torch._foreach_norm(list(tensors)))


def import_optimizers_without_compiler() -> None:
    """Keep optimizers from importing torch's compiler, which takes longer than a small run.

    They import it only to exclude themselves from tracing (torch/_compile.py); this marks them as
    excluded. Nothing is traced here.
    """
    for method in _methods_left_out():
        method.__dynamo_disable = method


def forget_optimizers_without_compiler() -> None:
    """Undo `import_optimizers_without_compiler`, for programs that compile afterwards."""
    for method in _methods_left_out():
        if vars(method).get("__dynamo_disable") is method:
            del method.__dynamo_disable


def _methods_left_out() -> list[Any]:
    names = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    found = [getattr(getattr(Optimizer, name), "__wrapped__", None) for name in names]
    return [method for method in found if method is not None]


def is_from_compiler(error: BaseException) -> bool:
    """Whether torch's compiler raised this error."""
    return type(error).__module__.startswith(_COMPILER)


def compiler_options(mode: str) -> dict[str, Any]:
    """Return the options of torch.compile for a mode, without headers precompiled in /tmp.

    The compiler keeps these in /tmp/torchinductor_USER, which others can create first, with code
    in it, whatever TORCHINDUCTOR_CACHE_DIR is.
    """
    from torch import _inductor

    without = {"cpp_cache_precompile_headers": False}
    known = {name: value for name, value in without.items() if name in _inductor.list_options()}
    return {**_inductor.list_mode_options(mode), **known}


def schedule_of_its_own(scheduler: LRScheduler, optimizer: Optimizer) -> LRScheduler:
    """Return an independent copy of a scheduler, with an optimizer that takes no steps.

    Args:
        scheduler: the original.
        optimizer: its optimizer, whose weights and state are not copied.
    """
    state = optimizer.state  # large and not needed
    memo = {id(parameter): parameter for parameter in state} | {id(state): state}
    own = copy.deepcopy(scheduler, memo)
    own.optimizer.step = optimizer.step  # type: ignore[method-assign]  # never called
    will_step(own.optimizer)
    return own


def move_into(parameter: nn.Parameter, numbers: Tensor) -> None:
    """Store a parameter in these numbers, in the shape of the parameter.

    Args:
        parameter: any parameter.
        numbers: (n,) contiguous, with the size of the parameter.
    """
    parameter.data = numbers.view_as(parameter)
