"""Measure mlrun's kernel, a specialised kernel and the peak of a matrix product, without a run.

They alternate in one process, so that noise from other processes affects all of them equally. There
is no validation or logging in between, and the row order is drawn in advance.
"""

import ctypes
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from contestant import Heat, answer, heat
from in_torch import network, tensors
from prepare import prepared

from mlrun.training.engines.native import calls
from mlrun.training.engines.native.lookahead import Lookahead
from mlrun.training.types import Progress

FLAGS = ("-O3", "-march=native", "-ffast-math", "-shared", "-fPIC", "-std=c++17", "-w")
LABELS = {
    "kernel": "mlrun's kernel",
    "limit": "specialised kernel",
    "peak": "matrix product",
}
TOGETHER = 8  # epochs per measurement
PEAK_SIZE = 768  # three such matrices fit into the cache


def our_epochs(job: Heat) -> Callable[[], float]:
    """Return a function that trains some epochs with mlrun's kernel in one call, as in a run."""
    ready = prepared(job.job, job.folder)
    member = ready.member(ready.features(), Progress())
    member = replace(member, trainer=replace(member.trainer, epochs=10**9, eval_every=10**9))
    lookahead = Lookahead(member, threads=1)
    pool = calls.ThreadPool(0, alive=lookahead)

    def epochs() -> float:
        member.progress.epoch += 1
        lookahead.begin_epoch()
        work = lookahead.epochs(TOGETHER)
        begun = time.perf_counter()
        pool.submit(work)
        pool.wait(work)
        spent = time.perf_counter() - begun
        lookahead.take_in()
        member.progress.epoch -= 1
        for _ in range(TOGETHER):
            member.progress.epoch += 1
            lookahead.take()
        return spent

    return epochs


def limit_epochs(job: Heat) -> Callable[[], float]:
    """Return a function that trains the same number of epochs with the specialised kernel."""
    library = _compiled(job)
    inputs, targets, *_ = tensors(job)
    weights = _packed(job, library.limit_count())
    speed = torch.zeros_like(weights)
    call = library.limit_epoch
    call.restype = ctypes.c_double
    places = [ctypes.c_void_p(t.data_ptr()) for t in (weights, speed, inputs, targets)]
    settings = [ctypes.c_int64(len(inputs)), *map(ctypes.c_float, (job.job.rate, job.job.momentum))]

    def epochs() -> float:
        orders = [torch.randperm(len(inputs)) for _ in range(TOGETHER)]
        begun = time.perf_counter()
        for order in orders:
            call(*places, ctypes.c_void_p(order.data_ptr()), *settings)
        return time.perf_counter() - begun

    epochs.alive = (weights, speed, inputs, targets)  # type: ignore[attr-defined]
    return epochs


def _packed(job: Heat, count: int) -> torch.Tensor:
    """Return torch's initial weights in the layout of limit.cpp: by input, then the biases."""
    parts = []
    for layer in network(job.job):
        if isinstance(layer, torch.nn.Linear):
            parts += [layer.weight.detach().T.flatten(), layer.bias.detach()]
    weights = torch.zeros(count)
    together = torch.cat(parts)
    weights[: len(together)] = together
    return weights


def _compiled(job: Heat) -> ctypes.CDLL:
    path = Path(tempfile.mkdtemp(), "limit.so")
    source = Path(__file__).with_name("limit.cpp")
    sizes = ",".join(map(str, job.job.sizes))
    constants = [f"-DSIZES={sizes}", f"-DBATCH={job.job.batch}"]
    subprocess.run(["c++", *FLAGS, *constants, str(source), "-o", str(path)], check=True)
    return ctypes.CDLL(str(path))


def product() -> Callable[[], float]:
    """Return a function that computes a matrix product on one thread."""
    torch.set_num_threads(1)
    a, b, c = (torch.rand(PEAK_SIZE, PEAK_SIZE) for _ in range(3))

    def multiply() -> float:
        begun = time.perf_counter()
        torch.mm(a, b, out=c)
        return time.perf_counter() - begun

    return multiply


def operations(job: Heat) -> int:
    """Count operations per epoch: forward, weight gradients, input gradients except the first."""
    first, second, *_ = job.job.sizes
    return 2 * len(job.train.inputs) * (3 * job.job.multiply_adds - first * second)


def main() -> None:
    """Alternate; report each median time, scaled to all epochs."""
    job = heat()
    works = {"kernel": our_epochs(job), "peak": product()}
    if job.job.name == "covid":
        works["limit"] = limit_epochs(job)
    spent: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(job.epochs):
        for name, work in works.items():
            spent[name].append(work())
    for name, seconds in spent.items():
        count = 2 * PEAK_SIZE**3 if name == "peak" else operations(job)
        together = 1 if name == "peak" else TOGETHER
        counted = statistics.median(seconds) / together * (job.epochs - 1)
        answer(job, counted, [], label=LABELS[name], operations=count)


if __name__ == "__main__":
    main()
