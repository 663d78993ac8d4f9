"""The built wheel in an environment and a folder of its own: conf/ must have come along."""

import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

TOP = Path(__file__).resolve().parents[1]
PINS = (TOP / "constraints.txt").read_text("utf-8").split()


@pytest.mark.slow
def test_the_wheel_runs_from_an_empty_folder_in_another_environment(workdir):
    def step(*command: str | Path) -> str:
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    pip = ("-m", "pip", "--disable-pip-version-check", "--quiet")
    step(sys.executable, *pip, "wheel", "--no-deps", "--wheel-dir", workdir / "dist", TOP)
    (wheel,) = (workdir / "dist").glob("mlrun_cli-*.whl")
    step(sys.executable, "-m", "venv", workdir / "venv")
    binaries = workdir / "venv" / ("Scripts" if os.name == "nt" else "bin")
    step(binaries / "python", *pip, "install", "-c", TOP / "constraints.txt", wheel)
    (workdir / "empty").mkdir()
    os.chdir(workdir / "empty")

    step(binaries / "mlrun", "-m", "task=covid,phone_price,mnist", "debug=smoke")
    run = Path(step(binaries / "mlrun", "debug=smoke", "quiet=true").strip())
    assert (run / "pred.csv").is_file()
    assert "valid" in step(binaries / "mlrun", "evaluate", run)
    assert "native" in (run / "run.json").read_text()
    assert not (workdir / "venv" / "conf").exists()
    assert [*(workdir / "venv").rglob("kernel-*.so")]


@pytest.mark.slow
def test_two_builds_in_two_folders_have_the_same_bytes(workdir):
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
    wheels = []
    for place in ("first", "second"):
        ignore = shutil.ignore_patterns(".venv*", ".git", "build", "dist", "outputs", "data")
        shutil.copytree(TOP, workdir / place, ignore=ignore)
        (workdir / place / "src" / "mlrun" / "api.py").touch()
        command = (*pip, "wheel", "--no-deps", "--wheel-dir", f"dist-{place}", f"./{place}")
        subprocess.run(command, cwd=workdir, check=True, capture_output=True)
        (wheel,) = (workdir / f"dist-{place}").glob("*.whl")
        wheels.append(wheel.read_bytes())
    assert wheels[0] == wheels[1]


def test_every_installed_package_that_mlrun_needs_is_pinned():
    """`make audit` asks pip for those of all extras."""
    pins = {re.sub(r"[-_.]+", "-", line.split("==")[0]).lower() for line in PINS}
    assert needed("mlrun-cli", {"cluster", "dev", "excel", "onnx", "sweep"}) - pins == {"mlrun-cli"}


def needed(package: str, extras: set[str], seen: frozenset[str] = frozenset()) -> set[str]:
    """The installed packages that a package needs, itself included."""
    found = {package}
    for line in metadata.requires(package) or ():
        wanted = Requirement(line)
        name = re.sub(r"[-_.]+", "-", wanted.name).lower()
        marker = wanted.marker
        applies = marker is None or any(marker.evaluate({"extra": one}) for one in extras | {""})
        if applies and name not in seen | found:
            found |= needed(name, set(wanted.extras), seen | found)
    return found
