"""Compile the kernel; needs only the standard library, because building the wheel uses it."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

FOLDER = Path(__file__).with_name("kernel")
SOURCE = FOLDER / "kernel.cpp"  # includes all others
# g++ computes a * b + c with one rounding by default, clang++ only with this option.
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
SECONDS = 120  # a compiler that takes longer has probably hung


class Unavailable(Exception):
    """The library cannot be used on this machine; the message is the reason."""


def sources() -> list[Path]:
    """Return all files of the kernel, sorted by name."""
    return sorted(path for path in FOLDER.iterdir() if path.suffix in (".cpp", ".h"))


def source_hash() -> str:
    """Return the SHA-256 of the kernel's files and their names: 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for path in sources():
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def shipped(variant: str) -> Path:
    """Return the path of this variant's library in an installed wheel."""
    return FOLDER.with_name(f"kernel-{variant}.so")


def compile_to(path: Path, variant: str) -> None:
    """Compile the kernel; after a failure there is no library file.

    Args:
        path: the library to write.
        variant: the instruction set, a key of MARCH.

    Raises:
        Unavailable: there is no compiler, or it fails.
    """
    flags = [*FLAGS, *MARCH[variant]]
    with tempfile.TemporaryDirectory(dir=path.parent, suffix=".tmp") as folder:
        unfinished = Path(folder) / path.name
        words = [*command(), *flags, _build_facts(variant), "-o", str(unfinished), str(SOURCE)]
        try:
            subprocess.run(words, check=True, capture_output=True, timeout=SECONDS)
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode("utf-8", "replace").splitlines()
            reason = [*said, f"exit status {error.returncode}"][0]
            raise Unavailable(f"{words[0]} cannot compile the kernel: {reason}") from error
        except (OSError, subprocess.SubprocessError) as error:
            raise Unavailable(f"{words[0]} cannot compile the kernel: {error}") from error
        unfinished.replace(path)


def _build_facts(variant: str) -> str:
    """Return the compiler flag with the facts that `mlrun_built()` returns."""
    facts = {"hash": source_hash(), "variant": variant, "contraction": CONTRACTION}
    lines = r"\n".join(f"{key}={value}" for key, value in facts.items())
    return f'-DMLRUN_BUILD="{lines}"'


def command() -> list[str]:
    """Return the command of the C++ compiler: `CXX`, or the first of the usual names.

    Raises:
        Unavailable: there is none.
    """
    if configured := os.environ.get("CXX", "").split():
        return configured
    for name in ("c++", "g++", "clang++"):
        if found := shutil.which(name):
            return [found]
    raise Unavailable("there is no C++ compiler (c++, g++ or clang++)")
