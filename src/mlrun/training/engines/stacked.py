"""Members that the kernel cannot train, trained as one: every weight a stack, one step for all.

torch.func vectorises the model over the stacks, and an optimizer that treats every number alike may
treat those of all members alike. Each member keeps its own rows, order, dropout and divergence; its
numbers equal those of its lone run to the rounding of float32.
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
from mlrun.training.schedule import advance_step, step_sizes, will_step
from mlrun.training.types import Member, diverged

# These treat every number by itself, and move it by the rate times what the rate has no part in.
ALIKE = (SGD, Adam, AdamW, RMSprop, Adagrad)
RATES = ("params", "lr", "initial_lr", "max_lr", "min_lr")
# Measured on two cores: from 4 members on an MLP's steps take half the time, from 64 a third; a
# convolution's, which one member's work fills a core with already, as long as before.
FEWEST = 4


def why_not(members: Sequence[Member]) -> str:
    """What keeps these members from being stacked; nothing if nothing does."""
    first = members[0]
    if first.trainer.compile:
        return "trainer.compile compiles one model"
    modules = list(first.learner.model.modules())
    own_state = [m for m in modules if list(m.buffers(recurse=False)) and type(m) is not Dropout]
    if own_state:
        return f"{type(own_state[0]).__name__} keeps statistics of its own"
    on_cpu = first.train.inputs.device.type == "cpu"
    if on_cpu and any(isinstance(module, nn.Conv2d) for module in modules):
        return "convolutions gain nothing by it on a CPU"
    if len(members) < FEWEST:
        return f"it takes {FEWEST} members to pay"
    if len({len(member.train.inputs) for member in members}) > 1:
        return "they train on different numbers of rows"
    if type(first.learner.optimizer) not in ALIKE:
        return f"{type(first.learner.optimizer).__name__} is not known to treat every number alike"
    if any(_terms(member) != _terms(first) for member in members):
        return "their optimizers differ in more than the rate"
    return ""


def _terms(member: Member) -> dict[str, Any]:
    """What an optimizer is told for its steps, but for the rate."""
    group = member.learner.optimizer.param_groups[0]
    return {name: value for name, value in group.items() if name not in RATES}


class Stacked:
    """An engine for members that differ in seed, rows and learning rate only."""

    name, trains_together = "stacked", True

    def __init__(self) -> None:
        self._stack: Stack | None = None

    def begin(self, members: Sequence[Member]) -> None:
        """Choose how steps are taken; the first epoch stacks."""
        self._stack = None
        for member in members:
            fuse(member.learner.optimizer)

    def train_epoch(
        self, members: Sequence[Member], stop: Callable[[], None]
    ) -> list[Epoch | Diverged]:
        """One pass over each member's rows, all of them in step."""
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
    """The weights and optimizer states of several members, one tensor for all."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = list(members)
        models = [member.learner.model for member in members]
        self._plan = copy.deepcopy(models[0]).to("meta").train()
        self._weights = _stacked([dict(model.named_parameters()) for model in models])
        for weight in self._weights.values():
            weight.requires_grad_()
        self._optimizer = self._stacked_optimizer()

    def _stacked_optimizer(self) -> torch.optim.Optimizer:
        """The first member's, over the stacks; all members' terms and step counts are alike."""
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
        """One optimizer step for all; or who diverged, and then none was taken."""
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
        """Each member's by its own rate: a step by the rate 1, and of that the share."""
        alike = len({*rates}) == 1
        self._optimizer.param_groups[0]["lr"] = rates[0] if alike else 1.0
        before = [] if alike else [weight.detach().clone() for weight in self._weights.values()]
        self._optimizer.step()
        for weight, start in zip(self._weights.values(), before, strict=False):
            share = weight.new_tensor(rates).view(-1, *[1] * (weight.dim() - 1))
            weight.detach().copy_(torch.lerp(start, weight.detach(), share))

    def _losses(self, orders: dict[Member, Tensor], sizes: Sequence[int], seen: int) -> Tensor:
        """(members,) the sums of their rows' losses; the gradients are added up on the way."""
        total, rows = torch.zeros(len(self.members)), sum(sizes)
        masks = _stacked([dict(m.learner.model.named_buffers()) for m in self.members])
        for size in sizes:
            index = [orders[m][seen : seen + size] for m in self.members]
            pairs = list(zip(self.members, index, strict=True))
            inputs = torch.stack([member.train.inputs[places] for member, places in pairs])
            targets = torch.stack([member.train.targets[places] for member, places in pairs])
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
        return self.members[0].learner.objective.loss(outputs.float(), targets)

    def _penalty(self, l1: float, l2: float) -> Tensor:
        matrices = [weight for weight in self._weights.values() if weight.dim() > 2]
        return torch.stack([l1 * w.abs().sum() + l2 * w.square().sum() for w in matrices]).sum()

    def _clip(self, value: float | None, norm: float | None) -> Tensor:
        """(members,) the norms of their gradients before they were clipped."""
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
            found[member] = diverged(what, value, member.progress)
        return found

    def put_back(self) -> None:
        """Give every member its weights and its optimizer's state."""
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
