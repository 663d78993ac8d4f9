"""The kernel as a shared library: shipped with the wheel, cached, or compiled at first use."""

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from mlrun.cache import cache_folder, is_private

log = logging.getLogger(__name__)

SOURCE = Path(__file__).with_name("kernel.cpp")
FLAGS = ("-std=c++17", "-O3", "-fno-math-errno", "-fPIC", "-shared", "-pthread", "-Wno-psabi")
SECONDS = 120  # a compiler that takes longer hangs


class Unavailable(Exception):
    """No library on this machine; the message says why."""


@functools.cache
def load() -> ctypes.CDLL:
    """The library, compiled on the first call ever made on this machine.

    Raises:
        Unavailable: there is none and no compiler to make it.
    """
    shipped = SOURCE.with_name(f"kernel-{variant()}.so")
    if shipped.is_file():
        return ctypes.CDLL(str(shipped))
    with _folder() as folder:
        path = folder / f"{_key()}.so"
        if not (path.is_file() and is_private(path)):
            log.info("compiling the native kernel, once on this machine")
            compile_to(path)
        return ctypes.CDLL(str(path))


def variant() -> str:
    """Which instructions the library may use: x86-64-v3 (AVX2 and FMA) or any of the machine."""
    fast = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
    return "x86-64-v3" if fast and platform.machine() in ("x86_64", "AMD64") else "baseline"


def compile_to(path: Path, *, more_flags: tuple[str, ...] = ()) -> None:
    """Compile the kernel, whole or not at all.

    Raises:
        Unavailable: no compiler, or it refuses.
    """
    march = (f"-march={variant()}",) if variant() != "baseline" else ()
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp") as unfinished:
        words = [*_compiler(), *FLAGS, *march, *more_flags, "-o", unfinished.name, str(SOURCE)]
        try:
            subprocess.run(words, check=True, capture_output=True, text=True, timeout=SECONDS)
        except subprocess.CalledProcessError as error:
            told = [*error.stderr.splitlines(), f"exit status {error.returncode}"][0]
            raise Unavailable(f"{words[0]} cannot compile it: {told}") from error
        except (OSError, subprocess.SubprocessError) as error:
            raise Unavailable(f"{words[0]} cannot compile it: {error}") from error
        os.link(unfinished.name, f"{unfinished.name}.so")
    Path(f"{unfinished.name}.so").replace(path)


def _compiler() -> list[str]:
    if asked := os.environ.get("CXX", "").split():
        return asked
    for name in ("c++", "g++", "clang++"):
        if found := shutil.which(name):
            return [found]
    raise Unavailable("there is no C++ compiler (c++, g++ or clang++)")


def _key() -> str:
    """Changes with all that the library depends on."""
    parts = [SOURCE.read_bytes(), *map(str.encode, (*FLAGS, variant(), platform.machine()))]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:32]


@contextmanager
def _folder() -> Iterator[Path]:
    """The cache; where there is none, a folder that is soon gone."""
    folder = cache_folder("native")
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="mlrun-") as passing:
        yield Path(passing)
