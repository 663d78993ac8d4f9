"""Keras 3 on JAX: fit with progress bar, best checkpoint and TensorBoard scalars."""

import os
import tempfile
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"
import keras
from contestant import Heat, Laps, answer, heat
from torch.utils.tensorboard import SummaryWriter


class Scalars(keras.callbacks.Callback):
    """Writes TensorBoard scalars; Keras's own callback needs TensorFlow."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.writer, self.laps = SummaryWriter(folder), Laps()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write the scalars of an epoch."""
        for name, value in (logs or {}).items():
            self.writer.add_scalar(name, value, epoch)
        self.laps.add((logs or {})["val_loss"])


def model_of(job: Heat) -> keras.Model:
    """Return the compiled network."""
    keras.utils.set_random_seed(0)
    shape = (28, 28, 1) if job.job.channels else job.train.inputs.shape[1:]
    layers: list[Any] = [keras.Input(shape)]
    for channels in job.job.channels:
        layers += [
            keras.layers.Conv2D(channels, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(2),
        ]
    layers.append(keras.layers.Flatten())
    as_torch = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
    layers += [
        keras.layers.Dense(size, activation="relu", kernel_initializer=as_torch)
        for size in job.job.sizes[1:-1]
    ]
    model = keras.Sequential(
        [*layers, keras.layers.Dense(job.job.sizes[-1], kernel_initializer=as_torch)]
    )
    categorical = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    loss = "mse" if job.job.loss == "mse" else categorical
    rate, momentum = job.job.rate, job.job.momentum
    model.compile(keras.optimizers.SGD(rate, momentum=momentum), loss)
    return model


def main() -> None:
    """Train."""
    job, folder = heat(), tempfile.mkdtemp()
    parts = [(rows.inputs, rows.targets) for rows in (job.train, job.valid)]
    if job.job.channels:
        parts = [(inputs.transpose(0, 2, 3, 1), targets) for inputs, targets in parts]
    best = keras.callbacks.ModelCheckpoint(
        Path(folder, "best.weights.h5"), save_best_only=True, save_weights_only=True
    )
    scalars = Scalars(folder)
    model_of(job).fit(
        *parts[0],
        batch_size=job.job.batch,
        epochs=job.epochs,
        validation_data=parts[1],
        callbacks=[best, scalars],
    )
    answer(job, scalars.laps.seconds, scalars.laps.losses)


if __name__ == "__main__":
    main()
