"""The kernel as a shared library: shipped with the wheel, cached, or compiled at first use."""

import ctypes
import functools
import hashlib
import logging
import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from mlrun.system.cache import cache_folder, is_private
from mlrun.training.engines.native import compiler, interface
from mlrun.training.engines.native.compiler import Unavailable

log = logging.getLogger(__name__)


@functools.cache
def load_kernel() -> ctypes.CDLL:
    """The library, compiled on the first call ever made on this machine.

    Raises:
        Unavailable: there is none and no compiler to make it, the system refuses it, or it was
            compiled from other sources than this package's.
    """
    try:
        library = ctypes.CDLL(str(compiler.shipped(variant())))
    except OSError:  # absent, or made for another system
        library = _compiled()
    interface.bind(library)
    return library


def built() -> dict[str, str]:
    """What the loaded library was made with and from, as it says itself.

    Returns:
        `compiler` (name and version), `hash` (of the kernel's sources), `variant` (of the
        processor's instructions), `contraction` (the compiler's option for a * b + c).

    Raises:
        Unavailable: as `load`.
    """
    lines = load_kernel().mlrun_built().decode().splitlines()
    return dict(line.split("=", 1) for line in lines)


def variant() -> str:
    """Which instructions the library may use: those of AVX-512, of AVX2, or any of the machine."""
    capability = torch.backends.cpu.get_cpu_capability()
    if platform.machine() not in ("x86_64", "AMD64"):
        return "baseline"
    return {"AVX512": "x86-64-v4", "AVX2": "x86-64-v3"}.get(capability, "baseline")


def _compiled() -> ctypes.CDLL:
    with _folder() as folder:
        path = folder / f"{_key()}.so"
        if not (path.is_file() and is_private(path)):
            log.info("compiling the native kernel, once on this machine")
            compiler.compile_to(path, variant())
        try:
            return ctypes.CDLL(str(path))
        except OSError as error:
            raise Unavailable(f"the system refuses it: {error}") from error


def _key() -> str:
    """Changes with all that the library depends on."""
    words = [compiler.source_hash(), *compiler.FLAGS, variant(), platform.machine()]
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:32]


@contextmanager
def _folder() -> Iterator[Path]:
    """The cache; where there is none, a folder that is soon gone."""
    folder = cache_folder("native")
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="mlrun-") as passing:
        yield Path(passing)
