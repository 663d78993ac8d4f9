"""The built wheel in an environment and a folder of its own: conf/ must have come along."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[1]


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
