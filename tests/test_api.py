"""mlrun from Python: the same runs as from the command line, in a process that stays as it was."""

import gc
import json
import logging
import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import hydra._internal.hydra as hydra_internals
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser

import mlrun as api
from mlrun.config.words import words_of
from tests.test_resume import assert_same_run

SMALL = ("trainer.epochs=2", "quiet=true")
OWN = """
from torch import nn

class Own(nn.Sequential):
    def __init__(self, in_shape, out_features):
        super().__init__(nn.Flatten(), nn.LazyLinear(out_features))
        self[1] = nn.Linear(in_shape[0], out_features)
"""


def test_a_run_from_python_is_the_one_of_the_command_line(mlrun):
    run = api.train("task=covid", seed=3, trainer={"epochs": 2}, quiet=True)
    words = ("task=covid", "seed=3", "trainer.epochs=2", "quiet=true")
    assert mlrun(*words, "hydra.run.dir=typed").code == 0
    assert_same_run(run.path, Path("typed"))
    assert run.record["command"] == "mlrun task=covid seed=3 trainer.epochs=2 quiet=true"
    overrides = yaml.safe_load((run.path / ".hydra" / "overrides.yaml").read_text())
    assert overrides == [*words]


@pytest.mark.slow
def test_a_run_has_its_scores_history_and_predictions_as_tables(mlrun):
    run = api.train("task=phone_price", *SMALL, "hydra.run.dir=run")
    assert run.path == Path("run")
    assert run.metrics == json.loads(Path("run/run.json").read_text())["metrics"]
    pd.testing.assert_frame_equal(run.history, pd.read_csv("run/metrics.csv"))
    written = pd.read_csv("run/pred.csv", dtype=str)
    pd.testing.assert_frame_equal(run.predict(), written)
    assert run.evaluate() == run.metrics


@pytest.mark.slow
def test_a_table_is_predicted_like_the_file_that_holds_it(mlrun):
    api.train("task=covid", *SMALL, "hydra.run.dir=run")
    file = next(Path("data/sample/covid").glob("*test*"))
    rows = pd.read_csv(file).iloc[::-1].head(20)
    rows.to_csv("rows.csv", index=False)
    run = api.load("run")
    found = run.predict(rows)
    assert mlrun("predict", "run", "--input", "rows.csv", "--output", "pred.csv").code == 0
    written = pd.read_csv("pred.csv", dtype={"id": str})
    assert found["id"].tolist() == written["id"].tolist()
    assert np.array_equal(
        found.iloc[:, 1].astype(np.float32), written.iloc[:, 1].astype(np.float32)
    )
    pd.testing.assert_frame_equal(run.predict("rows.csv"), found)


def test_a_table_that_does_not_fit_is_refused_without_naming_a_file(mlrun):
    run = api.train("task=covid", *SMALL, "hydra.run.dir=run")
    with pytest.raises(api.MlrunError, match="the table") as refused:
        run.predict(pd.DataFrame({"id": [1], "cli": [0.5]}))
    assert "rows.csv" not in str(refused.value)


@pytest.mark.slow
def test_probabilities_of_a_number_are_refused(mlrun):
    run = api.train("task=covid", *SMALL)
    with pytest.raises(api.MlrunError, match="is a number, so it has no probabilities"):
        run.predict(proba=True)


def test_members_come_with_the_history_of_each(mlrun):
    run = api.train("task=phone_price", *SMALL, seeds=2)
    assert run.history["member"].tolist() == ["seed_0", "seed_0", "seed_1", "seed_1"]
    assert [*run.predict(proba=True).columns][2:] == [f"probability_{n}" for n in range(4)]


@pytest.mark.slow
def test_a_sweep_comes_as_its_table(mlrun):
    table = api.sweep("task=covid", "optimizer.lr=1e-3,1e-2", *SMALL, seed="0,1")
    assert table.attrs["path"].is_dir()
    assert table["status"].tolist() == ["done"] * 4
    assert table[["optimizer.lr", "seed"]].values.tolist() == [
        [1e-3, 0],
        [1e-3, 1],
        [1e-2, 0],
        [1e-2, 1],
    ]
    assert api.load(table.attrs["path"] / "3").record["seed"] == 1


@pytest.mark.slow
def test_a_failed_job_of_a_sweep_is_a_row_with_its_error(mlrun):
    table = api.sweep("task=covid", "data.target=nothing,tested_positive.4", *SMALL)
    assert table["status"].tolist() == ["failed", "done"]
    assert "nothing" in table["error"][0]


@pytest.mark.slow
def test_resume_from_python_goes_on_to_the_same_bits(mlrun):
    api.train("task=covid", "trainer.epochs=4", "quiet=true", "hydra.run.dir=whole")
    limits = ("trainer.epochs=4", "trainer.max_minutes=1e-9", "quiet=true")
    api.train("task=covid", *limits, "hydra.run.dir=run")
    assert len(api.load("run").history) < 4
    api.resume("run", ["trainer.max_minutes=10"])
    assert_same_run(Path("whole"), Path("run"))


@pytest.mark.parametrize(
    ("overrides", "settings", "message"),
    [
        (("task=covd",), {}, "Did you mean 'covid'"),
        (("trainer.epochz=1",), {}, "unknown key 'trainer.epochz'"),
        ((), {"trainer": {"epochs": 0}}, "trainer.epochs=0: must be at least 1"),
        (("seed=0,1",), {}, "several values"),
    ],
)
def test_a_mistake_is_an_error_and_leaves_no_folder(mlrun, overrides, settings, message):
    with pytest.raises(api.MlrunError, match=message):
        api.train(*overrides, **settings)
    assert not Path("outputs").exists()


def test_loading_what_is_no_run_is_refused(mlrun):
    with pytest.raises(api.MlrunError, match="no run folder nowhere"):
        api.load("nowhere")


def test_texts_with_odd_characters_reach_the_configuration_unchanged(mlrun):
    place = r"it's a, [place] = {odd} \d$1"
    run = api.train("task=covid", *SMALL, paths={"outputs": place})
    assert run.path.parts[0] == place


@pytest.mark.parametrize("text", [r"C:\data", "it\\'s", "ends in \\", "'", "\\\\'\\"])
def test_any_text_survives_the_way_through_hydras_grammar(text):
    [word] = words_of((), {"a": text})
    assert OverridesParser.create().parse_overrides([word])[0].value() == text


def test_nested_values_are_written_in_hydras_grammar():
    settings = {"a": {"b": 1, "c": {}}, "d": [{"e": "f", "g": None}], "h": (True, 0.5)}
    words = words_of(("x=1",), settings)
    assert words == ["x=1", "a.b=1", "a.c={}", "d=[{e: 'f',g: null}]", "h=[true,0.5]"]


@pytest.mark.slow
def test_a_run_with_a_class_of_ones_own_predicts(mlrun, write_csv):
    write_csv("own_nets.py", OWN)
    write_csv("conf/model/own.yaml", "# mine\n_target_: own_nets.Own\n")
    run = api.train("task=covid", "model=own", *SMALL, allow=["own_nets.Own"])
    assert len(run.predict()) == run.record["rows"]["predict"]
    assert api.load(run.path, allow=["own_nets.Own"]).evaluate() == run.metrics
    with pytest.raises(api.MlrunError, match="refused"):
        api.load(run.path).predict()


@pytest.mark.slow
def test_members_are_in_the_order_of_their_numbers(mlrun):
    run = api.train("task=phone_price", "trainer.epochs=1", "quiet=true", seed=9, seeds=2)
    assert run.history["member"].tolist() == ["seed_9", "seed_10"]


def test_what_works_on_the_command_line_only_is_refused(mlrun):
    for word in ("hydra/launcher=basic", "hydra/sweeper=basic"):
        with pytest.raises(api.MlrunError, match="works only on the command line"):
            api.sweep("task=covid", "seed=0,1", word)
    assert not Path("outputs").exists()


def state_of_the_process() -> dict[str, Any]:
    logger = logging.getLogger("mlrun")
    return {
        "logger": (logger.handlers, logger.level, logger.propagate),
        "yaml": yaml.SafeLoader,
        "random": random.getstate(),
        "numpy": np.random.get_state()[1].tolist(),  # type: ignore[index]
        "torch": torch.get_rng_state().tolist(),
        "threads": torch.get_num_threads(),
        "hydra": (vars(hydra_internals)["ConfigLoaderImpl"], hydra_internals.Hydra.get_mode),
        "global hydra": GlobalHydra.instance().hydra,
        "gc": gc.isenabled(),
        "optimizer": vars(vars(torch.optim.Optimizer.zero_grad)["__wrapped__"]).keys(),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        "arguments": list(sys.argv),
        "environment": dict(os.environ),
        "folder": Path.cwd(),
    }


@pytest.mark.slow
def test_the_process_is_as_before_after_a_run_and_after_a_mistake(mlrun):
    logger = logging.getLogger("mlrun")
    handler = logging.NullHandler()
    logger.addHandler(handler)
    try:
        before = state_of_the_process()
        run = api.train("task=covid", "trainer.engine=autograd", "scheduler=constant", *SMALL)
        run.predict()
        api.resume(run.path, ["trainer.epochs=3"])
        api.sweep("task=covid", "seed=0,1", *SMALL)
        with pytest.raises(api.MlrunError):
            api.train("task=covd")
        assert state_of_the_process() == before
    finally:
        logger.removeHandler(handler)


def test_importing_mlrun_imports_neither_torch_nor_pandas_nor_hydra():
    code = "import mlrun, sys; print({'torch', 'pandas', 'hydra'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_name_that_mlrun_does_not_have_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'fly'"):
        _ = api.fly


@pytest.mark.slow
def test_every_block_of_the_page_about_python_runs(mlrun):
    page = Path(__file__).resolve().parents[1] / "docs" / "python.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 6
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block, names)  # our own page
    assert names["again"].metrics == names["run"].metrics
    assert names["best"].record["status"] == "done"
