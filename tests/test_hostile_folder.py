"""A stranger's current folder and the shared /tmp: nothing in them runs, or leads elsewhere."""

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from mlrun import MlrunError
from mlrun.data.sample import write_sample
from mlrun.system.cache import COMPILER_CACHE, use_private_compiler_cache
from tests import faults

# --- matplotlib ---

DRAW = "import mlrun.report.plots as p; p._save(p.Figure(), p.Path('x/y.png'))"
SETTING = "from matplotlib import rcParams; print(rcParams['text.usetex'])"


def in_python(script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in the current folder, as the mlrun command does."""
    words = [sys.executable, "-c", script]
    env = {**os.environ, "PYTHONSAFEPATH": "1", **variables}
    return subprocess.run(words, env=env, capture_output=True, text=True, timeout=300)


@faults.hostile_conf
@pytest.mark.slow
def test_matplotlib_reads_no_settings_of_the_current_folder(workdir):
    Path("matplotlibrc").write_text("text.usetex: True\n")  # starts latex
    done = in_python(f"{DRAW}; {SETTING}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")


@faults.hostile_conf
@pytest.mark.slow
def test_matplotlib_reads_the_users_own_settings(workdir):
    Path("mine").mkdir()
    Path("mine/matplotlibrc").write_text("text.usetex: True\n")
    done = in_python(f"import mlrun.report.plots; {SETTING}", MATPLOTLIBRC=str(workdir / "mine"))
    assert done.stdout == "True\n"


@faults.hostile_conf
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes in folders")
@pytest.mark.slow
def test_matplotlib_waits_for_no_pipe_of_the_current_folder(workdir):
    os.mkfifo("matplotlibrc")
    assert in_python(DRAW).returncode == 0


# --- sample data ---


@faults.links
@pytest.mark.parametrize("place", ["data/sample", "data/sample/phone_price"])
def test_sample_data_is_not_written_through_a_link(workdir, place):
    (workdir / "elsewhere").mkdir()
    Path(place).parent.mkdir(parents=True)
    Path(place).symlink_to(workdir / "elsewhere")
    with pytest.raises(MlrunError, match=rf"{place}.*: refused; .* must not contain links"):
        write_sample("phone_price")
    assert not [*(workdir / "elsewhere").rglob("*")]


@faults.links
@pytest.mark.parametrize("name", [".lock", "train.csv"])
def test_a_link_among_the_sample_data_is_not_followed(workdir, name):
    folder = Path("data/sample/phone_price")
    folder.mkdir(parents=True)
    (workdir / "elsewhere").write_text("private\n")
    (folder / name).symlink_to(workdir / "elsewhere")
    with pytest.raises(MlrunError, match=rf"{name}: refused"):
        write_sample("phone_price")
    (folder / name).unlink()
    (folder / name).symlink_to(workdir / "new")
    with suppress(MlrunError):  # a link to nothing is replaced
        write_sample("phone_price")
    assert (workdir / "elsewhere").read_text() == "private\n"
    assert not (workdir / "new").exists()


@faults.links
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes in folders")
def test_a_pipe_among_the_sample_data_is_not_waited_for(workdir):
    Path("data/sample/phone_price").mkdir(parents=True)
    os.mkfifo("data/sample/phone_price/.lock")
    with pytest.raises(MlrunError, match=r"\.lock: refused"):
        write_sample("phone_price")


def test_the_data_folder_itself_may_be_a_link_of_the_user(workdir):
    (workdir / "disk").mkdir()
    Path("data").symlink_to(workdir / "disk")
    assert write_sample("phone_price").is_dir()


# --- the cache of torch's compiler ---


@pytest.fixture
def of_torch(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The folder that torch chooses: another user may have created it first."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(workdir / "cache"))
    return str(Path(tempfile.gettempdir(), "torchinductor_me"))


@faults.odd_world
@pytest.mark.parametrize("known", [False, True], ids=["unset", "set by torch"])
def test_compiled_code_is_kept_where_only_the_user_can_write(monkeypatch, of_torch, known):
    monkeypatch.setenv(COMPILER_CACHE, of_torch)
    if not known:
        monkeypatch.delenv(COMPILER_CACHE)
    use_private_compiler_cache()
    assert os.environ[COMPILER_CACHE] == str(Path("cache/mlrun/torch").absolute())


@faults.odd_world
def test_compiled_code_is_kept_for_one_process_without_a_cache(monkeypatch, of_torch):
    Path("cache").touch()
    monkeypatch.setenv(COMPILER_CACHE, of_torch)
    use_private_compiler_cache()
    folder = Path(os.environ[COMPILER_CACHE])
    assert folder.stat().st_mode & 0o077 == 0
    assert folder != Path(of_torch)
    shutil.rmtree(folder)


def test_compiled_code_is_kept_where_the_user_wants(monkeypatch, of_torch):
    monkeypatch.setenv(COMPILER_CACHE, "/tmp/mine")
    use_private_compiler_cache()
    assert os.environ[COMPILER_CACHE] == "/tmp/mine"


COMPILE = """
import torch
from mlrun.training.engines.autograd import compiled
with torch.no_grad():
    model = torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.GELU())
    print(compiled(model, torch.device("cpu"))(torch.ones(3, 2)).shape)
"""


@faults.odd_world
@pytest.mark.slow
def test_torchs_compiler_keeps_no_file_in_tmp(workdir):
    Path("tmp").mkdir()
    places = {"TMPDIR": str(workdir / "tmp"), "XDG_CACHE_HOME": str(workdir / "cache")}
    done = in_python(COMPILE, **places)
    assert done.stdout == "torch.Size([3, 1])\n", done.stderr
    assert [*Path("cache/mlrun/torch").rglob("*.so")]
    assert not [path for path in Path("tmp").rglob("*") if path.is_file()]
