"""A stranger's options that would fill memory, take forever, or end in a traceback; see
test_hostile_conf.py for those that would run something.
"""

from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from mlrun import MlrunError
from mlrun.data.remote_file import local_copy
from mlrun.sweeps.grid import MOST_JOBS
from mlrun.sweeps.search_space import space_of
from tests import faults
from tests.test_safety import assert_refused

SMALL = ("debug=smoke", "quiet=true")


@pytest.fixture
def hostile(write_csv: Any) -> Any:
    """`hostile(text)`: an option of conf/hparams, the group that is merged last."""

    def write(text: str) -> str:
        write_csv("conf/hparams/hw.yaml", f"# @package _global_\n{text}\n")
        return "hparams=hw"

    return write


def doubled(entry: str, last: str = "") -> str:
    """Each line refers to the one before it nine times."""
    lines = [f"  x{n}: {entry.format(n - 1)}" for n in range(1, 13)]
    return "\n".join(["model:", "  x0: {k: long text}", *lines, last])


TEXTS = doubled("'" + "${{model.x{0}}}" * 9 + "'").replace("{k: long text}", "long text")
NODES = doubled("{{" + ", ".join(f"k{k}: '${{{{model.x{{0}}}}}}'" for k in range(9)) + "}}")


@faults.hostile_conf
@pytest.mark.parametrize(
    ("text", "key"),
    [
        (TEXTS + "data: {id: '${model.x12}'}", ""),
        (NODES, "model.x"),
        (TEXTS + "hydra: {run: {dir: '${model.x12}'}}", "hydra.run.dir"),
        (TEXTS + "hydra: {job: {name: '${model.x12}'}}", "hydra.job.name"),
    ],
    ids=["texts", "nodes", "folder", "hydra"],
)
@pytest.mark.slow
def test_references_that_would_fill_the_memory_are_refused(mlrun, hostile, text, key):
    answer = mlrun(hostile(text), "task=phone_price", *SMALL)
    assert_refused(answer, key, "its references describe more than 100000 values")


@faults.foreign_sweep
@pytest.mark.slow
def test_references_of_a_foreign_search_fill_no_memory():
    from mlrun.config.recorded import from_the_record

    extra = {"x0": "long text", **{f"x{n}": f"${{extra.x{n - 1}}}" * 9 for n in range(1, 13)}}
    with pytest.raises(MlrunError, match="its references describe more than 100000 values"):
        from_the_record({"extra": extra}, Path("sweep.json"), references=True)


@pytest.mark.slow
def test_a_thousand_references_are_allowed(mlrun, hostile):
    names = ", ".join(["'${model.dropout}'"] * 1000)
    answer = mlrun("--cfg", "job", "--resolve", hostile(f"model: {{x: [{names}]}}"))
    assert answer.out.count("- 0.0\n") == 1000


@faults.hostile_conf
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("seed: " + "1" * 5000, "it has a number of more than 400 digits"),
        ("seed: 0x" + "f" * 5000, "it has a number of more than 400 digits"),
        ("seed: 1" + ":0" * 5000, "it has a number of more than 400 digits"),
        ('task: "a\\0b"', "it has a text with a zero byte"),
        ('paths: {outputs: "a\\0b"}', "it has a text with a zero byte"),
    ],
    ids=["decimal", "hexadecimal", "sexagesimal", "task", "folder"],
)
def test_values_that_python_cannot_use_are_refused(mlrun, hostile, text, problem):
    assert_refused(mlrun(hostile(text), *SMALL), f"conf/hparams/hw.yaml: refused; {problem}")


@faults.hostile_conf
@pytest.mark.parametrize(
    "text",
    [
        "data: {id: '" + "${oc.select:" * 300 + "x" + "}" * 300 + "'}",
        "defaults:\n  - hw@model.x",
    ],
    ids=["references", "options"],
)
def test_nesting_without_end_is_refused(mlrun, hostile, text):
    assert_refused(mlrun(hostile(text), *SMALL), "values are nested too deeply, or an option")


@faults.hostile_conf
@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ("range(0,100000000000)", f"more than {MOST_JOBS} jobs"),
        ("shuffle(range(0,100000000000))", f"more than {MOST_JOBS} jobs"),
        ("range(0,1e308,1e-308)", f"more than {MOST_JOBS} jobs"),
        ("range(0,1,0)", "the step of a range must not be 0"),
    ],
)
@pytest.mark.slow
def test_a_sweep_without_end_does_not_begin(mlrun, hostile, values, problem):
    option = hostile(f"hydra: {{sweeper: {{params: {{seed: '{values}'}}}}}}")
    assert_refused(mlrun("-m", option, "task=phone_price", *SMALL), problem)


@faults.hostile_conf
@pytest.mark.parametrize("place", ["run: {dir", "sweep: {dir", "sweep: {subdir"])
def test_no_folder_has_a_text_from_the_environment_in_its_name(mlrun, hostile, monkeypatch, place):
    monkeypatch.setenv("SOME_TEXT", "text")
    text = "paths: {data: '${oc.env:SOME_TEXT}'}\nhydra: {" + place + ": 'x_${paths.data}'}}"
    answer = mlrun("-m", hostile(text), "task=phone_price", "seed=1,2", *SMALL)
    assert_refused(answer, "=x_${paths.data}: refused; paths.data comes from the environment")


@faults.hostile_conf
@pytest.mark.parametrize(
    "address",
    ["http://[x", "http://a\u2100b/", f"http://{'a' * 70}/x", "http://127.0.0.1/\u0100"],
    ids=["brackets", "unicode host", "long label", "unicode path"],
)
def test_an_address_that_is_none_is_an_error_for_users(address, monkeypatch, workdir):
    monkeypatch.setenv("XDG_CACHE_HOME", str(workdir / "cache"))
    with pytest.raises(MlrunError, match=r"is not valid|cannot read"):
        local_copy(address)


@faults.hostile_conf
def test_no_link_is_read_when_options_are_listed(mlrun, write_csv):
    write_csv("secret.yaml", "# the secret\n")
    write_csv("conf/model/mine.yaml", "# mine\n")
    Path("conf/model/linked.yaml").symlink_to(Path("secret.yaml").absolute())
    Path("conf/model/near.yaml").symlink_to("mine.yaml")
    answer = mlrun("ls", "model")
    assert "secret" not in answer.out
    assert "near    mine" in answer.out


@faults.hostile_conf
def test_a_link_is_refused_before_it_is_read(mlrun, write_csv):
    write_csv("outside.yaml", "a: [\n")  # malformed: reading it would say so
    Path("conf/model").mkdir(parents=True)
    Path("conf/model/linked.yaml").symlink_to(Path("outside.yaml").absolute())
    assert_refused(mlrun("model=linked"), "model/linked.yaml: refused; it is outside")


@faults.hostile_conf
@pytest.mark.slow
def test_a_search_proposes_no_endless_batch(mlrun, hostile):
    option = hostile(
        "defaults: [override /hydra/sweeper: optuna]\nhydra: {sweeper: {n_trials: 100000000000, "
        "n_jobs: 100000000000, params: {optimizer.lr: 'interval(0.001,0.1)'}}}"
    )
    answer = mlrun("-m", option, "task=phone_price", *SMALL)
    assert_refused(answer, "hydra.sweeper.n_jobs=100000000000: must be at most 10000")


@pytest.mark.parametrize(
    "values",
    [
        "interval(1e-400,1e400)",
        "interval(-1e308,1e308)",
        "interval(0,nan)",
        "int(interval(0,100000000000000000000))",
        "range(0,100000000000000000000)",
        "range(0.5,1.5,0.0)",
    ],
)
@faults.foreign_sweep
def test_a_range_with_which_no_sampler_can_compute_is_refused(values):
    words = OverridesParser.create().parse_overrides([f"optimizer.lr={values}"])
    with pytest.raises(MlrunError, match=r"^optimizer\.lr=.*: "):
        space_of(words)
