"""JAX: an epoch is one jitted `lax.scan` over its batches; `--members N` trains N with vmap."""

import math
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from contestant import Heat, Laps, answer, heat
from jax import lax
from torch.utils.tensorboard import SummaryWriter


def weights_of(job: Heat, key: Any) -> list[tuple[Any, Any]]:
    """Return initial weights like torch's: uniform within ±1 / sqrt(inputs)."""
    layers = []
    for inputs, outputs in zip(job.job.sizes, job.job.sizes[1:], strict=False):
        key, first, second = jax.random.split(key, 3)
        bound = 1 / math.sqrt(inputs)
        shapes = ((first, (inputs, outputs)), (second, (outputs,)))
        layers.append(
            tuple(jax.random.uniform(k, s, minval=-bound, maxval=bound) for k, s in shapes)
        )
    return layers


def loss(kind: str, weights: Any, inputs: Any, targets: Any, shares: Any) -> Any:
    """Return the weighted sum of the losses of the rows."""
    for weight, bias in weights[:-1]:
        inputs = jax.nn.relu(inputs @ weight + bias)
    outputs = inputs @ weights[-1][0] + weights[-1][1]
    if kind == "mse":
        return (((outputs - targets) ** 2)[:, 0] * shares).sum()
    rows = jnp.arange(len(targets))
    return -(jax.nn.log_softmax(outputs)[rows, targets] * shares).sum()


def epoch_of(job: Heat, valid: tuple[Any, Any], inputs: Any, targets: Any) -> Any:
    """Return (state, key) → (state, train loss, validation loss); pads the last batch."""
    rows, size, steps = len(inputs), job.job.batch, job.steps
    value_and_grad = jax.value_and_grad(partial(loss, job.job.loss))
    counts = jnp.minimum(size, rows - size * jnp.arange(steps))
    shares = (jnp.arange(size) < counts[:, None]) / counts[:, None]
    even = jnp.full(len(valid[0]), 1 / len(valid[0]))

    def step(state: Any, batch: Any) -> Any:
        weights, speed = state
        index, share = batch
        value, slope = value_and_grad(weights, inputs[index], targets[index], share)
        speed = jax.tree.map(lambda v, g: job.job.momentum * v + g, speed, slope)
        weights = jax.tree.map(lambda w, v: w - job.job.rate * v, weights, speed)
        return (weights, speed), value

    def epoch(state: Any, key: Any) -> Any:
        order = jnp.resize(jax.random.permutation(key, rows), (steps, size))
        state, losses = lax.scan(step, state, (order, shares))
        return state, losses.mean(), loss(job.job.loss, state[0], *valid, even)

    return epoch


def train(job: Heat, epoch: Any, state: Any) -> Laps:
    """Call `epoch` for every epoch; save the best weights and write TensorBoard scalars."""
    folder = tempfile.mkdtemp()
    writer, laps = SummaryWriter(folder), Laps()
    for number, key in enumerate(jax.random.split(jax.random.key(1), job.epochs)):
        state, train_loss, valid_loss = epoch(state, key)
        valid = float(np.mean(valid_loss))
        writer.add_scalar("train/loss", float(np.mean(train_loss)), number)
        writer.add_scalar("valid/loss", valid, number)
        if valid < min(laps.losses, default=math.inf):
            np.savez(Path(folder, "best.npz"), *jax.tree.leaves(state[0]))
        laps.add(valid)
    return laps


def main() -> None:
    """Train; the first epoch compiles."""
    job = heat("members")
    inputs = jnp.array(job.train.inputs.reshape(len(job.train.inputs), -1))
    valid = jnp.array(job.valid.inputs.reshape(len(job.valid.inputs), -1))
    epoch = epoch_of(
        job, (valid, jnp.array(job.valid.targets)), inputs, jnp.array(job.train.targets)
    )
    make, members = partial(weights_of, job), int(job.options.members or 0)
    if members:  # each with its own order
        keys = jax.random.split(jax.random.key(0), members)
        weights, alone = jax.vmap(make)(keys), jax.vmap(epoch, in_axes=(0, 0))
        epoch = jax.jit(lambda state, key: alone(state, jax.random.split(key, members)))
    else:
        weights, epoch = make(jax.random.key(0)), jax.jit(epoch)
    state = (weights, jax.tree.map(jnp.zeros_like, weights))
    laps = train(job, epoch, state)
    answer(job, laps.seconds, laps.losses, members=members or 1)


if __name__ == "__main__":
    main()
