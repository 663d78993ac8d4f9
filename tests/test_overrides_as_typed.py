"""`.hydra/overrides.yaml` holds what was typed; nothing in it is looked up or spelled anew."""

from pathlib import Path

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from mlrun.errors import MlrunError
from mlrun.sweeps.grid import combinations

SMALL = ("task=covid", "trainer.epochs=1", "trainer.limit_batches=1", "quiet=true")
TYPED = ("optimizer.lr=1e-3", "trainer.shuffle=true", "paths.outputs='${oc.env:MY_FOLDER}'")


def overrides_of(run: str) -> list[str]:
    words: list[str] = yaml.safe_load(Path(run, ".hydra", "overrides.yaml").read_text())
    return words


def files_with(text: str, folder: str) -> list[Path]:
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    return [path for path in files if text.encode() in path.read_bytes()]


def test_a_run_records_the_words_and_not_what_the_environment_holds(mlrun, monkeypatch):
    monkeypatch.setenv("MY_FOLDER", "a-private-place")
    assert mlrun(*SMALL, *TYPED, "data.split.seed='${...seed}'", "hydra.run.dir=run").code == 0
    words = [word.replace("'", "") for word in (*SMALL, *TYPED, "data.split.seed=${...seed}")]
    assert [word.replace("'", "") for word in overrides_of("run")] == words


@pytest.mark.parametrize("launcher", ["mlrun", pytest.param("basic", marks=pytest.mark.slow)])
@pytest.mark.slow
def test_a_job_records_its_words_and_not_what_the_environment_holds(mlrun, monkeypatch, launcher):
    monkeypatch.setenv("MY_FOLDER", "a-private-place")
    place = (f"hydra/launcher={launcher}", "hydra.sweep.dir=sweep")
    assert mlrun("-m", *SMALL, *TYPED, "seed=0,1", *place).code == 0
    for seed in (0, 1):
        assert overrides_of(f"sweep/{seed}") == [*SMALL, *TYPED, f"seed={seed}"]
    assert files_with("a-private-place", "sweep/0/.hydra") == []


@pytest.mark.parametrize(
    ("typed", "jobs"),
    [
        (("a=1e-3,1e-2", "b=true"), [["a=1e-3", "b=true"], ["a=1e-2", "b=true"]]),
        (("a=true,false",), [["a=true"], ["a=false"]]),
        (("a=[1,2],[3]",), [["a=[1,2]"], ["a=[3]"]]),
        (("a='x,y',z",), [["a='x,y'"], ["a=z"]]),
        (("a=choice(1,2)", "b=range(1,3)"), [[f"a={a}", f"b={b}"] for a in (1, 2) for b in (1, 2)]),
        (("a=sort(3,1,2)",), [["a=1"], ["a=2"], ["a=3"]]),
        (("a=int(1.5,2.5)",), [["a=1"], ["a=2"]]),
        (("d=${oc.env:A},${oc.env:B}",), [["d=${oc.env:A}"], ["d=${oc.env:B}"]]),
        (("a=1",), [["a=1"]]),
        (("a=range(1,1)",), []),
        ((), [[]]),
    ],
)
def test_jobs_are_every_combination_in_the_words_that_were_typed(typed, jobs):
    assert combinations(OverridesParser.create().parse_overrides([*typed])) == jobs


def test_one_value_in_two_spellings_is_the_same_job():
    with pytest.raises(MlrunError, match=r"a=0\.001: this job appears twice"):
        combinations(OverridesParser.create().parse_overrides(["a=1e-3,0.001"]))
