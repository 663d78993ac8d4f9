"""Restore the state of the process that training changes, for programs that use mlrun."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# mlrun's, cuBLAS's, and one that torch's compiler sets when an optimizer imports it.
VARIABLES = ("MLRUN_DATA", "CUBLAS_WORKSPACE_CONFIG", "TORCHINDUCTOR_CACHE_DIR")


@contextmanager
def restored() -> Iterator[None]:
    """Restore torch's random state, threads and settings, and environment variables."""
    generator, threads = torch.get_rng_state(), torch.get_num_threads()
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    variables = {name: os.environ.get(name) for name in VARIABLES}
    try:
        yield
    finally:
        torch.set_rng_state(generator)
        torch.set_num_threads(threads)
        if devices:
            torch.cuda.set_rng_state_all(devices)
        if deterministic or torch.are_deterministic_algorithms_enabled():
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark
        for name, value in variables.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
