"""Compiling the kernel; with the standard library alone, because building the wheel uses it."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

FOLDER = Path(__file__).with_name("kernel")
SOURCE = FOLDER / "kernel.cpp"  # includes all others
# g++ fuses a * b + c into one rounding anyway, clang++ only if it is asked to.
CONTRACTION = "-ffp-contract=fast"
FLAGS = (
    *("-std=c++17", "-O3", "-fno-math-errno", CONTRACTION),
    *("-fPIC", "-shared", "-pthread", "-Wno-psabi"),
)
MARCH = {
    "x86-64-v4": ("-march=x86-64-v4", "-mprefer-vector-width=512"),
    "x86-64-v3": ("-march=x86-64-v3",),
    "baseline": (),
}
SECONDS = 120  # a compiler that takes longer hangs


class Unavailable(Exception):
    """No library on this machine; the message says why."""


def sources() -> list[Path]:
    """All files of the kernel, sorted by name."""
    return sorted(path for path in FOLDER.iterdir() if path.suffix in (".cpp", ".h"))


def source_hash() -> str:
    """SHA-256 of the kernel's files and their names, 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for path in sources():
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def shipped(variant: str) -> Path:
    """Where a wheel has the library of this variant."""
    return FOLDER.with_name(f"kernel-{variant}.so")


def compile_to(path: Path, variant: str) -> None:
    """Compile the kernel, whole or not at all.

    Args:
        path: the library.
        variant: of MARCH, the processors it is for.

    Raises:
        Unavailable: no compiler, or it refuses.
    """
    flags = [*FLAGS, *MARCH[variant]]
    with tempfile.TemporaryDirectory(dir=path.parent, suffix=".tmp") as folder:
        unfinished = Path(folder) / path.name
        words = [*command(), *flags, _build_facts(variant), "-o", str(unfinished), str(SOURCE)]
        try:
            subprocess.run(words, check=True, capture_output=True, text=True, timeout=SECONDS)
        except subprocess.CalledProcessError as error:
            told = [*error.stderr.splitlines(), f"exit status {error.returncode}"][0]
            raise Unavailable(f"{words[0]} cannot compile it: {told}") from error
        except (OSError, subprocess.SubprocessError) as error:
            raise Unavailable(f"{words[0]} cannot compile it: {error}") from error
        unfinished.replace(path)


def _build_facts(variant: str) -> str:
    """A definition for `mlrun_built()`: the library itself knows what it was made from."""
    facts = {"hash": source_hash(), "variant": variant, "contraction": CONTRACTION}
    lines = r"\n".join(f"{key}={value}" for key, value in facts.items())
    return f'-DMLRUN_BUILD="{lines}"'


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
