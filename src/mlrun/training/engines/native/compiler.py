"""Compiling the kernel; with the standard library alone, because building the wheel uses it."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("kernel.cpp")
FLAGS = ("-std=c++17", "-O3", "-fno-math-errno", "-fPIC", "-shared", "-pthread", "-Wno-psabi")
MARCH = {
    "x86-64-v4": ("-march=x86-64-v4", "-mprefer-vector-width=512"),
    "x86-64-v3": ("-march=x86-64-v3",),
    "baseline": (),
}
SECONDS = 120  # a compiler that takes longer hangs


class Unavailable(Exception):
    """No library on this machine; the message says why."""


def compile_to(path: Path, variant: str) -> None:
    """Compile the kernel, whole or not at all.

    Args:
        path: the library.
        variant: of MARCH, the processors it is for.

    Raises:
        Unavailable: no compiler, or it refuses.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, suffix=".tmp") as folder:
        unfinished = Path(folder) / path.name
        words = [*command(), *FLAGS, *MARCH[variant], "-o", str(unfinished), str(SOURCE)]
        try:
            subprocess.run(words, check=True, capture_output=True, text=True, timeout=SECONDS)
        except subprocess.CalledProcessError as error:
            told = [*error.stderr.splitlines(), f"exit status {error.returncode}"][0]
            raise Unavailable(f"{words[0]} cannot compile it: {told}") from error
        except (OSError, subprocess.SubprocessError) as error:
            raise Unavailable(f"{words[0]} cannot compile it: {error}") from error
        unfinished.replace(path)


def command() -> list[str]:
    """The system's C++ compiler, as `CXX` or by its usual names.

    Raises:
        Unavailable: there is none.
    """
    if asked := os.environ.get("CXX", "").split():
        return asked
    for name in ("c++", "g++", "clang++"):
        if found := shutil.which(name):
            return [found]
    raise Unavailable("there is no C++ compiler (c++, g++ or clang++)")
