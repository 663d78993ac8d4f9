"""Members and jobs get the configuration of their own seed, however it refers to the seed."""

import json
from pathlib import Path

import pytest

SMALL = ("task=covid", "trainer.epochs=1", "quiet=true")
SLOW = pytest.mark.slow
OTHERS = [pytest.param(s, marks=SLOW) for s in ("${seed}", "${oc.select:seed,0}")]


def split_of(run: str) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = json.loads(Path(run, "split.json").read_text())
    return rows


@pytest.fixture(scope="module")
def lone_split(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[int]]:
    """The split of a lone run of seed 1 whose split follows the seed."""
    from mlrun.cli.main import main

    run = tmp_path_factory.mktemp("lone") / "run"
    assert main([*SMALL, "seed=1", "data.split.seed=1", f"hydra.run.dir={run}"]) == 0
    return split_of(str(run))


@pytest.mark.parametrize("spelling", ["${oc.select:seed}", *OTHERS])
@pytest.mark.slow
def test_a_member_splits_by_its_own_seed(mlrun, lone_split, spelling):
    answer = mlrun(*SMALL, f"data.split.seed='{spelling}'", "seeds=2", "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    assert split_of("run/members/seed_1") == lone_split
    assert split_of("run/members/seed_0") != lone_split


@pytest.mark.parametrize("spelling", ["${...seed}", *OTHERS])
@pytest.mark.slow
def test_a_job_of_a_sweep_splits_by_its_own_seed(mlrun, lone_split, spelling):
    words = (f"data.split.seed='{spelling}'", "seed=0,1", "hydra.sweep.dir=sweep")
    answer = mlrun("-m", *SMALL, *words)
    assert answer.code == 0, answer.err
    assert split_of("sweep/1") == lone_split
    assert split_of("sweep/0") != lone_split


@pytest.mark.slow
def test_a_value_looked_up_by_the_seed_is_each_members_own(mlrun):
    rate = "optimizer.lr='${oc.select:loss.rates.${seed},0.01}'"
    assert mlrun(*SMALL, rate, "seeds=2", "hydra.run.dir=run").code == 0
    assert mlrun(*SMALL, "optimizer.lr=0.01", "seed=1", "hydra.run.dir=lone").code == 0
    predictions = [Path(run, "pred.csv").read_bytes() for run in ("lone", "run/members/seed_1")]
    assert predictions[0] == predictions[1]
