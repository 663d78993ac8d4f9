"""The autograd engine: any model on any device, one optimizer step at a time."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from mlrun.config.schema import Trainer
from mlrun.errors import Diverged, MlrunError
from mlrun.models.dropout import begin_epoch
from mlrun.system.cache import use_private_compiler_cache
from mlrun.system.random import counter_seed, reseed
from mlrun.system.seams import Place, reached
from mlrun.training.batches import row_order
from mlrun.training.distributed import ALONE, ProcessGroup, process_group
from mlrun.training.engines.base import Epoch
from mlrun.training.objective import penalty
from mlrun.training.schedule import advance_step, step_sizes
from mlrun.training.torch_private import compiler_options, is_from_compiler, norms_of
from mlrun.training.types import Features, Learner, Member, Progress, diverged

# Rows to score at once, for any batch size; the last chunk is padded with zeros. Matrix products of
# different sizes may round differently (on some processors even from row to row). On a CPU the
# activations of more images do not fit into the cache (1,024 took four times as long as 128).
ROWS_AT_ONCE, IMAGES_AT_ONCE = 256, 128
FUSED = (SGD, Adam, AdamW)
ANSWERS_AT_ONCE = ("cpu",)  # other devices compute asynchronously; reading a value waits for them


class Autograd:
    """Trains with torch's gradients and optimizers."""

    name, trains_together = "autograd", False

    def __init__(self) -> None:
        self._forward: dict[Member, Callable[[Tensor], Tensor]] = {}
        self._process_group = process_group()

    def begin(self, members: Sequence[Member]) -> None:
        """Prepare the models and optimizers of the members."""
        for member in members:
            model, device = member.learner.model, member.train.inputs.device
            compiles = member.trainer.compile
            self._forward[member] = compiled(model, device) if compiles else model
            fuse(member.learner.optimizer)
            self._process_group.share_statistics(member.learner.model)

    def train_epoch(
        self, members: Sequence[Member], stop: Callable[[], None]
    ) -> list[Epoch | Diverged]:
        """Train one epoch of each member, one member after another.

        On a GPU, finiteness is checked only once per epoch; after a failure the weights are those
        at the end of the epoch.
        """
        results: list[Epoch | Diverged] = []
        for member in members:
            try:
                with compiler_errors_explained(member.trainer):
                    results.append(Epoch(self._pass(member, stop)))
            except Diverged as error:
                results.append(error)
        return results

    def _pass(self, member: Member, stop: Callable[[], None]) -> float:
        learner, trainer, progress = member.learner, member.trainer, member.progress
        forward, device = self._forward[member], member.train.inputs.device
        learner.model.train()
        reseed(counter_seed(member.seed, progress.epoch), device)  # for users' own modules
        begin_epoch(learner.model, member.seed, progress.epoch)
        groups = _batches(member)
        losses_and_norms, first = [], 0
        compute = partial(
            gradients, learner, member.train, forward=forward, process_group=self._process_group
        )
        for batches in groups:
            losses_and_norms.append(compute(batches, trainer, first=first))
            first += sum(map(len, batches))
            if device.type in ANSWERS_AT_ONCE:
                _refuse_infinite(losses_and_norms[-1], batches, progress, learner)
            reached(Place.STEP_BEGINS)
            learner.optimizer.step()
            progress.step += 1
            advance_step(learner.scheduler)
            stop()
        sums = torch.stack(losses_and_norms).cpu()
        if device.type not in ANSWERS_AT_ONCE:
            progress.step -= len(losses_and_norms)
            for found, batches in zip(sums, groups, strict=True):
                _refuse_infinite(found, batches, progress, learner)
                progress.step += 1
        return sums[:, 0].double().sum().item() / first


def _batches(member: Member) -> list[tuple[Tensor, ...]]:
    """Return the batches of each optimizer step, as row numbers on the device."""
    rows, trainer = len(member.train.inputs), member.trainer
    epoch, seed = member.progress.epoch, member.seed
    order = row_order(rows, seed=seed, epoch=epoch, shuffle=trainer.shuffle)
    steps = step_sizes(rows, trainer)
    sizes = [size for step in steps for size in step]
    batches = iter(torch.split(order.to(member.train.inputs.device)[: sum(sizes)], sizes))
    return [tuple(next(batches) for _ in step) for step in steps]


def fuse(optimizer: Optimizer) -> None:
    """Use the fused optimizer (a third of the time), unless the user chose another variant."""
    for group in optimizer.param_groups if type(optimizer) in FUSED else ():
        if group["fused"] is None and not group["foreach"] and not group["differentiable"]:
            group["fused"] = True


def compiled(model: nn.Module, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Compile the model with torch.compile; on a GPU with CUDA graphs."""
    use_private_compiler_cache()
    mode = "reduce-overhead" if device.type == "cuda" else "default"
    return torch.compile(model, options=compiler_options(mode), dynamic=False)


@contextmanager
def compiler_errors_explained(trainer: Trainer) -> Iterator[None]:
    """Turn errors of torch.compile during training into user errors.

    Raises:
        MlrunError: torch.compile does not support the model, or there is no C++ compiler.
    """
    try:
        yield
    except RuntimeError as error:
        if trainer.compile and is_from_compiler(error):
            reason = " ".join(str(error).split())[:200]
            raise MlrunError(
                f"trainer.compile=true: {reason}; set trainer.compile=false"
            ) from error
        raise


def outputs_by_torch(model: nn.Module, inputs: Tensor, precision: str) -> Tensor:
    """Compute the outputs (n, out_features), float32 on the CPU, in chunks of rows."""
    model.eval()
    size = IMAGES_AT_ONCE if inputs.dim() == 4 else ROWS_AT_ONCE
    with torch.inference_mode(), autocast(inputs.device, precision):
        parts = [model(_filled(part, size)).float().cpu() for part in torch.split(inputs, size)]
    return torch.cat(parts)[: len(inputs)]


def gradients(
    learner: Learner,
    train: Features,
    batches: Sequence[Tensor],
    trainer: Trainer,
    *,
    forward: Callable[[Tensor], Tensor],
    process_group: ProcessGroup = ALONE,
    first: int = 0,
) -> Tensor:
    """Compute the gradients of a group of batches, like one large batch, into the model.

    Args:
        learner: the learner with the model.
        train: the training rows.
        batches: row numbers of each batch.
        trainer: the settings for clipping and penalties.
        forward: computes the outputs of the model.
        process_group: shares the work; every process gets the gradients of all rows.
        first: the position of the first row in the order of the epoch.

    Returns:
        (2,) the sum of the losses of the rows, and the gradient norm before clipping.
    """
    rows, total = sum(map(len, batches)), torch.zeros((), device=train.inputs.device)
    learner.optimizer.zero_grad()
    for batch in batches:
        mine = process_group.share(len(batch))
        process_group.start_dropout_at(learner.model, first + mine.start)
        first, batch = first + len(batch), batch[mine]
        with autocast(train.inputs.device, trainer.precision):
            outputs = forward(train.inputs[batch])
        if len(batch):
            loss = learner.objective.loss_of(outputs.float(), train.targets[batch])
        else:  # fewer rows than processes: the loss is 0, not the mean of no rows
            loss = outputs.float().sum()
        (loss if len(batch) == rows else loss * (len(batch) / rows)).backward()  # type: ignore[no-untyped-call]
        total += loss.detach() * len(batch)
    if process_group.size > 1:
        process_group.add_up(
            [*(w.grad for w in learner.model.parameters() if w.grad is not None), total]
        )
    if trainer.l1 or trainer.l2:
        penalty(learner.model, l1=trainer.l1, l2=trainer.l2).backward()  # type: ignore[no-untyped-call]
    return torch.stack((total, _clip(learner, trainer)))


def _refuse_infinite(
    found: Tensor, batches: Sequence[Tensor], progress: Progress, learner: Learner
) -> None:
    loss, norm = found.tolist()
    if not math.isfinite(loss):
        raise diverged("the training loss", loss / sum(map(len, batches)), progress, learner)
    if not math.isfinite(norm):
        raise diverged("the norm of the gradients", norm, progress, learner)


def _clip(learner: Learner, trainer: Trainer) -> Tensor:
    """Clip the gradients; return the norm of all gradients before clipping."""
    # Same as nn.utils.get_total_norm, without its check of every tensor's device.
    weights = [weight for group in learner.optimizer.param_groups for weight in group["params"]]
    if trainer.clip_value is not None:
        nn.utils.clip_grad_value_(weights, trainer.clip_value)
    norms = norms_of([weight.grad for weight in weights if weight.grad is not None])
    norm: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    if trainer.clip_norm is not None:
        nn.utils.clip_grads_with_norm_(weights, trainer.clip_norm, norm)
    return norm


def _filled(part: Tensor, size: int) -> Tensor:
    """Pad with rows of zeros to `size` rows."""
    missing = size - len(part)
    return torch.cat([part, part.new_zeros(missing, *part.shape[1:])]) if missing else part


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return an autocast context for bfloat16, enabled by `precision`."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
