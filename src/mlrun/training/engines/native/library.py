"""Load the kernel's shared library: from the wheel, from the cache, or compiled at first use."""

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
from mlrun.system.locks import temporary_folder
from mlrun.training.engines.native import compiler, interface
from mlrun.training.engines.native.compiler import Unavailable

log = logging.getLogger(__name__)


@functools.cache
def load_kernel() -> ctypes.CDLL:
    """Return the library; the first call on a machine may compile it.

    Raises:
        Unavailable: there is neither a library nor a compiler, the system cannot load the
            library, or its functions or structs differ from those of this package.
    """
    try:
        library = ctypes.CDLL(str(compiler.shipped(variant())))
    except OSError:  # absent, or compiled for another system
        library = _compiled()
    interface.bind(library)
    return library


def built() -> dict[str, str]:
    """Return the facts about its build that the loaded library contains.

    Returns:
        `compiler` (name and version), `hash` (of the kernel's sources), `variant` (the
        processor instructions), `contraction` (the compiler's option for a * b + c).

    Raises:
        Unavailable: as `load`.
    """
    lines = load_kernel().mlrun_built().decode().splitlines()
    return dict(line.split("=", 1) for line in lines)


def variant() -> str:
    """Return the instruction set for this processor: x86-64-v4, x86-64-v3 or baseline."""
    capability = torch.backends.cpu.get_cpu_capability()
    if platform.machine() not in ("x86_64", "AMD64"):
        return "baseline"
    return {"AVX512": "x86-64-v4", "AVX2": "x86-64-v3"}.get(capability, "baseline")


def _compiled() -> ctypes.CDLL:
    with _folder() as folder:
        path = folder / f"{_key()}.so"
        if not (path.is_file() and is_private(path)):
            log.info("compiling the native kernel, once on this machine")
            with temporary_folder(folder) as unfinished:
                compiler.compile_to(unfinished / path.name, variant())
                (unfinished / path.name).replace(path)
        try:
            return ctypes.CDLL(str(path))
        except OSError as error:
            raise Unavailable(f"the system cannot load the library: {error}") from error


def _key() -> str:
    """Return a name that changes with everything that the library depends on."""
    words = [compiler.source_hash(), *compiler.FLAGS, variant(), platform.machine()]
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:32]


@contextmanager
def _folder() -> Iterator[Path]:
    """Yield the cache folder; if there is none, a temporary folder."""
    folder = cache_folder("native")
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="mlrun-") as temporary:
        yield Path(temporary)
