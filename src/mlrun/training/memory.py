"""Out of memory during training: find the batch size that fits."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from mlrun.config.schema import Trainer
from mlrun.errors import MlrunError
from mlrun.training.engines.autograd import gradients
from mlrun.training.types import Features, Learner

# Messages of torch's allocators; only CUDA's has its own exception class.
WORDS = ("out of memory", "not enough memory", "can't allocate memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on any device."""
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or any(words in str(error) for words in WORDS)


@contextmanager
def out_of_memory_explained(learner: Learner, train: Features, trainer: Trainer) -> Iterator[None]:
    """Turn a failed allocation into advice, found by trying; the learner is unusable afterwards.

    Raises:
        MlrunError: the block ran out of memory; the message names the batch size that fits.
    """
    try:
        yield
        return
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        traceback.clear_frames(
            error.__traceback__
        )  # they keep the tensors alive that filled the memory
    fitting = fitting_batch_size(learner, train, trainer)
    what = f"out of memory on {train.inputs.device} with trainer.batch_size={trainer.batch_size}"
    if fitting is None:
        raise MlrunError(
            f"{what}, and a batch of one row does not fit either; choose a smaller model"
        )
    accumulate = -(-trainer.batch_size // fitting) * trainer.accumulate
    raise MlrunError(
        f"{what}: trainer.batch_size={fitting} fits (with trainer.accumulate={accumulate}, each "
        "step uses as many rows as before)"
    )


def fitting_batch_size(learner: Learner, train: Features, trainer: Trainer) -> int | None:
    """Halve the batch size until a training step fits; None if even one row does not fit."""
    size = min(trainer.batch_size, len(train.inputs)) // 2
    while size and not _fits(learner, train, trainer, size):
        size //= 2
    return size or None


def _fits(learner: Learner, train: Features, trainer: Trainer, size: int) -> bool:
    learner.optimizer.zero_grad()
    if train.inputs.device.type == "cuda":
        torch.cuda.empty_cache()
    try:
        gradients(learner, train, [torch.arange(size)], trainer, forward=learner.model)
        learner.optimizer.step()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)
        return False
    return True
