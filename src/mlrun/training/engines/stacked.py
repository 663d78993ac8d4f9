"""The stacked engine: trains several members at once that the kernel does not support.

Every weight becomes one tensor for all members. torch.func vectorises the model over the members,
and an elementwise optimizer updates the weights of all members in one step. Each member keeps its
own rows, order, dropout and divergence; its numbers equal those of its single run up to float32
rounding.
"""

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.optim import SGD, Adagrad, Adam, AdamW, RMSprop

from mlrun.errors import Diverged
from mlrun.models.dropout import Dropout, begin_epoch
from mlrun.training.batches import row_order
from mlrun.training.engines.autograd import autocast, fuse
from mlrun.training.engines.base import Epoch
from mlrun.training.schedule import advance_step, step_sizes
from mlrun.training.torch_private import will_step
from mlrun.training.types import Member, diverged

# Elementwise optimizers whose step is the learning rate times a value that does not depend on it.
ALIKE = (SGD, Adam, AdamW, RMSprop, Adagrad)
RATES = ("params", "lr", "initial_lr", "max_lr", "min_lr")
# Measured on two cores: the steps of an MLP take half the time from 4 members on, a third from 64
# on. Convolutions gain nothing, because one member already fills a core.
FEWEST = 4
KNOWN = ("torch", "mlrun")  # packages whose modules can be vectorised


def why_not(members: Sequence[Member]) -> str:
    """Return the reason why these members cannot be stacked, or an empty string."""
    first = members[0]
    if first.trainer.compile:
        return "trainer.compile compiles only single models"
    modules = list(first.learner.model.modules())
    own_state = [m for m in modules if list(m.buffers(recurse=False)) and type(m) is not Dropout]
    if own_state:
        return f"{type(own_state[0]).__name__} keeps running statistics"
    on_cpu = first.train.inputs.device.type == "cpu"
    if on_cpu and any(isinstance(module, nn.Conv2d) for module in modules):
        return "convolutions on a CPU are not faster when stacked"
    if len(members) < FEWEST:
        return f"stacking pays off from {FEWEST} members on"
    if len({len(member.train.inputs) for member in members}) > 1:
        return "they train on different numbers of rows"
    if type(first.learner.optimizer) not in ALIKE:
        return f"{type(first.learner.optimizer).__name__} is not known to work elementwise"
    if any(_terms(member) != _terms(first) for member in members):
        return "their optimizers differ in more than the learning rate"
    return _fails_together(members[:2])


def _fails_together(members: Sequence[Member]) -> str:
    """Return why torch cannot vectorise the user's own model or loss, found by trying."""
    learner = members[0].learner
    parts = {type(module) for module in (*learner.model.modules(), learner.objective.loss)}
    own = [part.__name__ for part in parts if part.__module__.split(".")[0] not in KNOWN]
    if not own:
        return ""
    rows = min(2, len(members[0].train.inputs))
    order = torch.arange(rows, device=members[0].train.inputs.device)
    try:
        Stack(members)._losses(dict.fromkeys(members, order), [rows], 0)
    except Exception as error:  # a bug of the class appears again when it is trained alone
        reason = str(error).partition("\n")[0].partition(". ")[0]
        return f"{' and '.join(sorted(own))} cannot be vectorised ({reason})"
    return ""


def _terms(member: Member) -> dict[str, Any]:
    """Return the settings of an optimizer without the learning rate."""
    group = member.learner.optimizer.param_groups[0]
    return {name: value for name, value in group.items() if name not in RATES}


class Stacked:
    """An engine for members that differ only in seed, rows and learning rate."""

    name, trains_together = "stacked", True

    def __init__(self) -> None:
        self._stack: Stack | None = None

    def begin(self, members: Sequence[Member]) -> None:
        """Prepare the optimizers; the first epoch creates the stack."""
        self._stack = None
        for member in members:
            fuse(member.learner.optimizer)

    def train_epoch(
        self, members: Sequence[Member], stop: Callable[[], None]
    ) -> list[Epoch | Diverged]:
        """Train one epoch of all members, step by step together."""
        if self._stack is None or self._stack.members != [*members]:
            self._stack = Stack(members)
        results: dict[Member, Epoch | Diverged] = {}
        orders = {member: _order(member) for member in members}
        totals = dict.fromkeys(orders, 0.0)
        seen = 0
        for sizes in step_sizes(len(members[0].train.inputs), members[0].trainer):
            while (failed := self._stack.step(orders, sizes, seen, totals)) is not None:
                self._stack.put_back()
                results |= failed
                left = [m for m in self._stack.members if m not in failed]
                if not left:
                    return [results[member] for member in members]
                self._stack = Stack(left)
            seen += sum(sizes)
            stop()
        self._stack.put_back()
        results |= {m: Epoch(totals[m] / seen) for m in self._stack.members}
        return [results[member] for member in members]


class Stack:
    """Weights and optimizer states of several members, stacked into one tensor each."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = list(members)
        models = [member.learner.model for member in members]
        self._plan = copy.deepcopy(models[0]).to("meta").train()
        self._weights = _stacked([dict(model.named_parameters()) for model in models])
        for weight in self._weights.values():
            weight.requires_grad_()
        self._optimizer = self._stacked_optimizer()

    def _stacked_optimizer(self) -> torch.optim.Optimizer:
        """Build an optimizer for the stacks; settings and step counts are equal in all members."""
        optimizers = [member.learner.optimizer for member in self.members]
        for optimizer in optimizers:
            will_step(optimizer)
        kind, defaults = type(optimizers[0]), optimizers[0].defaults
        settings = {k: defaults[k] for k in inspect.signature(kind).parameters if k in defaults}
        made: torch.optim.Optimizer = kind(list(self._weights.values()), **settings)
        for number, weight in enumerate(self._weights.values()):
            states = [o.state.get(o.param_groups[0]["params"][number], {}) for o in optimizers]
            made.state[weight] = {
                name: value.clone() if name == "step" else torch.stack([s[name] for s in states])
                for name, value in states[0].items()
                if isinstance(value, Tensor)
            }
        return made

    def step(
        self,
        orders: dict[Member, Tensor],
        sizes: Sequence[int],
        seen: int,
        totals: dict[Member, float],
    ) -> dict[Member, Diverged] | None:
        """Take one optimizer step; if members diverged, return them and take no step."""
        first, rows = self.members[0], sum(sizes)
        self._optimizer.zero_grad()
        losses = self._losses(orders, sizes, seen)
        if first.trainer.l1 or first.trainer.l2:
            self._penalty(first.trainer.l1, first.trainer.l2).backward()  # type: ignore[no-untyped-call]
        norms = self._clip(first.trainer.clip_value, first.trainer.clip_norm)
        wrong = ~torch.isfinite(losses + norms)
        if wrong.any():
            return self._failed(losses / rows, norms, wrong)
        self._optimizer.param_groups[0] |= _terms(first)
        self._take_step([m.learner.optimizer.param_groups[0]["lr"] for m in self.members])
        for member, loss in zip(self.members, losses.tolist(), strict=True):
            totals[member] += loss
            member.progress.step += 1
            advance_step(member.learner.scheduler)
        return None

    def _take_step(self, rates: Sequence[float]) -> None:
        """Step each member with its own rate: step with rate 1, then scale the change."""
        alike = len({*rates}) == 1
        self._optimizer.param_groups[0]["lr"] = rates[0] if alike else 1.0
        before = [] if alike else [weight.detach().clone() for weight in self._weights.values()]
        self._optimizer.step()
        for weight, start in zip(self._weights.values(), before, strict=False):
            share = weight.new_tensor(rates).view(-1, *[1] * (weight.dim() - 1))
            weight.detach().copy_(torch.lerp(start, weight.detach(), share))

    def _losses(self, orders: dict[Member, Tensor], sizes: Sequence[int], seen: int) -> Tensor:
        """Return (members,) sums of the losses of the rows; accumulate the gradients."""
        total, rows = torch.zeros(len(self.members)), sum(sizes)
        masks = _stacked([dict(m.learner.model.named_buffers()) for m in self.members])
        for size in sizes:
            index = [orders[m][seen : seen + size] for m in self.members]
            pairs = list(zip(self.members, index, strict=True))
            inputs = torch.stack([member.train.inputs[numbers] for member, numbers in pairs])
            targets = torch.stack([member.train.targets[numbers] for member, numbers in pairs])
            for counters in masks.values():
                counters[:, 2] = seen
            losses = vmap(self._loss)(self._weights, masks, inputs, targets)
            (losses.sum() * (size / rows)).backward()
            total += losses.detach().cpu() * size
            seen += size
        return total

    def _loss(
        self, weights: dict[str, Tensor], masks: dict[str, Tensor], inputs: Tensor, targets: Tensor
    ) -> Any:
        trainer = self.members[0].trainer
        with autocast(inputs.device, trainer.precision):
            outputs = functional_call(self._plan, (weights, masks), (inputs,))
        return self.members[0].learner.objective.loss_of(outputs.float(), targets)

    def _penalty(self, l1: float, l2: float) -> Tensor:
        matrices = [weight for weight in self._weights.values() if weight.dim() > 2]
        return torch.stack([l1 * w.abs().sum() + l2 * w.square().sum() for w in matrices]).sum()

    def _clip(self, value: float | None, norm: float | None) -> Tensor:
        """Clip the gradients; return (members,) gradient norms before clipping."""
        gradients = [weight.grad for weight in self._weights.values() if weight.grad is not None]
        if value is not None:
            gradients = [gradient.clamp_(-value, value) for gradient in gradients]
        norms = torch.stack([g.flatten(1).square().sum(dim=1) for g in gradients]).sum(dim=0).sqrt()
        factor = ((norm or 0.0) / (norms + 1e-6)).clamp(max=1.0)
        for gradient in gradients if norm is not None else ():
            gradient.mul_(factor.view(-1, *[1] * (gradient.dim() - 1)))
        return norms.cpu()

    def _failed(self, losses: Tensor, norms: Tensor, wrong: Tensor) -> dict[Member, Diverged]:
        found: dict[Member, Diverged] = {}
        for number in wrong.nonzero().flatten().tolist():
            member, loss = self.members[number], float(losses[number])
            loss_is_fine = bool(losses[number].isfinite())
            what = "the norm of the gradients" if loss_is_fine else "the training loss"
            value = float(norms[number]) if loss_is_fine else loss
            found[member] = diverged(what, value, member.progress, member.learner)
        return found

    def put_back(self) -> None:
        """Copy weights and optimizer states back into the members."""
        with torch.no_grad():
            for number, member in enumerate(self.members):
                parameters = dict(member.learner.model.named_parameters())
                for name, weight in self._weights.items():
                    parameters[name].copy_(weight[number])
                    state = member.learner.optimizer.state[parameters[name]]
                    for key, value in self._optimizer.state[weight].items():
                        state[key] = value.clone() if key == "step" else value[number].clone()


def _order(member: Member) -> Tensor:
    progress, trainer = member.progress, member.trainer
    begin_epoch(member.learner.model, member.seed, progress.epoch)
    count = len(member.train.inputs)
    order = row_order(count, seed=member.seed, epoch=progress.epoch, shuffle=trainer.shuffle)
    return order.to(member.train.inputs.device)


def _stacked(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([state[name].detach() for state in states]) for name in states[0]}
