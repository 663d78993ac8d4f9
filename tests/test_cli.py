"""The command line, end to end on the sample data and on small files."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from mlrun import __version__
from tests import faults

SMOKE = ("debug=smoke", "quiet=true")


def slow(*values: Any) -> list[Any]:
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


def record(run: Path) -> Any:
    return json.loads((run / "run.json").read_text())


# --- help ---


def test_help_names_every_verb_and_version_is_ours(mlrun):
    text = mlrun("--help").out
    verbs = ("mlrun [OVERRIDES]", "evaluate RUN", "predict RUN", "export RUN")
    for words in (*verbs, "resume RUN", "rerun RUN", "ls [GROUP]", "-m [OVERRIDES]", "--cfg job"):
        assert words in text
    assert mlrun("--version").out == f"mlrun {__version__}\n"


def test_ls_lists_groups_and_options_with_a_line_each(mlrun):
    assert "mlp     multilayer perceptron" in mlrun("ls", "model").out
    everything = mlrun("ls").out
    for group in ("task=", "model=", "optimizer=", "scheduler=", "debug="):
        assert group in everything


def test_ls_lists_the_users_own_options(mlrun, write_csv):
    write_csv("conf/model/tiny.yaml", "# my own\ndefaults: [mlp]\nhidden: [2]\n")
    assert "tiny    my own" in mlrun("ls", "model").out


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["ls"], ["--cfg", "job"]])
def test_commands_that_only_print_import_no_torch(arguments):
    code = f"import sys; from mlrun.cli.main import main; main({arguments!r}); "
    code += "sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0


def test_the_configuration_can_be_printed(mlrun):
    answer = mlrun("--cfg", "job", "model=linear", "optimizer.lr=0.5")
    assert answer.code == 0
    assert "mlrun.models.linear.Linear" in answer.out
    assert "lr: 0.5" in answer.out


# --- a run ---


@pytest.mark.draws
@pytest.mark.sample
@pytest.mark.parametrize(
    ("task", "rows", "header", "plot"),
    [
        ("covid", 1078, "id,tested_positive", "prediction_vs_truth.png"),
        ("phone_price", 1000, "id,price_range", "confusion_matrix.png"),
        ("mnist", 360, "id,label", "confusion_matrix.png"),
    ],
)
def test_a_task_runs_on_the_sample_and_leaves_the_documented_folder(
    mlrun, task, rows, header, plot
):
    run = mlrun(f"task={task}", *SMOKE).run
    found = {str(p.relative_to(run)) for p in run.rglob("*") if p.is_file()}
    events = next(name for name in found if name.startswith("tensorboard/events.out.tfevents."))
    assert found == {
        "config.yaml",
        ".hydra/config.yaml",
        ".lock",
        ".hydra/overrides.yaml",
        "run.json",
        "run.log",
        "metrics.csv",
        "split.json",
        "pred.csv",
        "checkpoints/best.safetensors",
        "checkpoints/last.safetensors",
        "plots/learning_curve.png",
        f"plots/{plot}",
        events,
    }
    lines = (run / "pred.csv").read_text().splitlines()
    assert (lines[0], len(lines)) == (header, rows + 1)
    assert record(run)["status"] == "done"
    assert record(run)["sample"] is True


@pytest.mark.slow
def test_an_empty_mlrun_data_is_ignored(mlrun, monkeypatch):
    monkeypatch.setenv("MLRUN_DATA", "")
    assert record(mlrun(*SMOKE).run)["sample"] is True


def test_the_sample_is_announced_loudly(mlrun):
    assert "SAMPLE DATA" in mlrun("debug=smoke").out


@pytest.mark.parametrize("task", ["phone_price", *slow("covid", "mnist")])
def test_evaluate_gives_the_numbers_and_predict_the_bytes_of_the_run(mlrun, finished, task):
    run = finished("run", f"task={task}", *SMOKE)
    predictions = (run / "pred.csv").read_bytes()
    text = mlrun("evaluate", str(run)).out
    for values in record(run)["metrics"].values():
        for name, value in values.items():
            assert f"{name} {value:.4f}" in text
    (run / "pred.csv").unlink()
    assert mlrun("predict", str(run)).code == 0
    assert (run / "pred.csv").read_bytes() == predictions


def history(run: Path) -> list[list[str]]:
    return [line.split(",")[:-1] for line in (run / "metrics.csv").read_text().splitlines()]


@pytest.mark.parametrize(
    "overrides",
    [
        ("task=covid",),
        pytest.param(
            ("task=mnist", "model=cnn", "model.channels=[4,8]"), marks=pytest.mark.slow, id="cnn"
        ),
    ],
)
def test_the_same_seed_gives_the_same_run_and_another_seed_another(mlrun, overrides):
    first, second, third = (
        mlrun(*overrides, *SMOKE, "trainer.epochs=2", f"seed={seed}").run for seed in (0, 0, 1)
    )
    assert history(first) == history(second)
    assert (first / "pred.csv").read_bytes() == (second / "pred.csv").read_bytes()
    assert history(first) != history(third)


@pytest.mark.sample
def test_a_run_learns(mlrun):
    run = mlrun("task=phone_price", "trainer.epochs=20", "quiet=true").run
    assert record(run)["metrics"]["valid"]["accuracy"] > 0.9


@pytest.mark.slow
@pytest.mark.sample
def test_overfit_drives_one_batch_towards_zero(mlrun):
    run = mlrun("task=phone_price", "debug=overfit", "quiet=true").run
    losses = [float(row[3]) for row in history(run)[1:]]
    assert losses[-1] < losses[0] / 100


@pytest.mark.slow
def test_profile_leaves_a_table_and_a_trace(mlrun):
    run = mlrun("debug=profile", "quiet=true").run
    assert "Self CPU" in (run / "profile.txt").read_text()
    assert json.loads((run / "trace.json").read_text())["traceEvents"]


def test_a_record_contains_the_origins_of_the_run(mlrun):
    found = record(mlrun("seed=3", *SMOKE).run)
    assert found["command"] == "mlrun seed=3 debug=smoke quiet=true"
    assert found["seed"] == 3
    assert found["versions"]["torch"] == torch.__version__
    assert {file["role"] for file in found["data"]} == {"train", "test"}
    assert len(found["data"][0]["sha256"]) == 64
    assert found["best_epoch"] == found["epochs"] == 1
    assert set(found["metrics"]) == {"train", "valid"}


@pytest.mark.parametrize("loss", ["huber", *slow("mse", "mae", "smooth_l1")])
def test_every_regression_loss_trains(mlrun, loss):
    assert mlrun("task=covid", f"loss={loss}", *SMOKE).code == 0


@pytest.mark.parametrize("loss", ["bce_with_logits", *slow("cross_entropy", "nll")])
def test_every_classification_loss_trains(mlrun, loss):
    assert mlrun("task=phone_price", f"loss={loss}", *SMOKE).code == 0


@pytest.mark.parametrize(
    "scheduler",
    [
        "onecycle",
        *slow("constant", "plateau", "warmup", "step", "multistep", "exponential", "cosine"),
    ],
)
@pytest.mark.slow
def test_every_scheduler_trains(mlrun, scheduler):
    overrides = ("task=phone_price", f"scheduler={scheduler}", "trainer.epochs=3", *SMOKE[1:])
    assert mlrun(*overrides).code == 0


@pytest.mark.parametrize("optimizer", ["sgd", *slow("adagrad", "rmsprop", "adam", "adamw")])
def test_every_optimizer_trains(mlrun, optimizer):
    assert mlrun("task=phone_price", "model=linear", f"optimizer={optimizer}", *SMOKE).code == 0


# --- one's own CSV ---

PEOPLE = "age,city,id,income\n" + "".join(
    f"{20 + i},{'Rome' if i % 3 else 'Oslo'},p{i},{1000 * i + 500 * (i % 3)}.5\n" for i in range(40)
)
FLOWERS = "petal,color,kind\n" + "".join(
    f"{i % 7}.5,{'red' if i % 2 else 'blue'},{'rose' if i % 2 else 'iris'}\n" for i in range(30)
)


def test_a_regression_on_a_csv_of_ones_own_predicts_the_held_out_rows(mlrun, write_csv):
    write_csv("my.csv", PEOPLE)
    run = mlrun("task=csv", "data.train=my.csv", "data.target=income", *SMOKE).run
    lines = (run / "pred.csv").read_text().splitlines()
    assert lines[0] == "id,income"
    assert len(lines) == 1 + 8
    assert lines[1].startswith("p")


def test_a_classification_with_text_labels_writes_the_labels(mlrun, write_csv):
    write_csv("my.csv", FLOWERS)
    run = mlrun("task=csv", "data.train=my.csv", "data.target=kind", "quiet=true").run
    labels = {line.split(",")[1] for line in (run / "pred.csv").read_text().splitlines()[1:]}
    assert labels == {"rose", "iris"}
    assert record(run)["metrics"]["valid"]["accuracy"] == 1.0


def test_a_test_file_with_targets_is_scored_and_predicted(mlrun, write_csv):
    write_csv("my.csv", FLOWERS)
    write_csv("new.csv", "kind,color,petal\niris,blue,1.5\nrose,red,2\n")
    files = ("data.train=my.csv", "data.test=new.csv", "data.target=kind")
    run = mlrun("task=csv", *files, "quiet=true").run
    assert record(run)["metrics"]["test"]["accuracy"] == 1.0
    assert (run / "pred.csv").read_text() == "id,kind\n0,iris\n1,rose\n"


def test_a_csv_with_semicolons_and_decimal_commas_is_read(mlrun, write_csv):
    write_csv("my.csv", FLOWERS.replace(",", ";").replace(".5", ",5"))
    for options in ((), ("data.decimal=comma",)):
        run = mlrun("task=csv", "data.train=my.csv", *options, *SMOKE).run
        assert record(run)["spec"]["features"][0] == "petal"


def test_a_broken_or_unmarked_file_of_ones_own_is_explained(mlrun, write_csv):
    write_csv("conf/task/mine.yaml", "# mine\ndefaults: [csv, _self_]\ntask: mine\n")
    assert "must start with the line: # @package _global_" in mlrun("task=mine").err
    write_csv("conf/task/mine.yaml", "# @package _global_\ndata: {train: my.csv\n")
    assert "mine.yaml is not well-formed YAML" in mlrun("task=mine").err


def test_a_mistake_is_explained_under_a_debugger_too(mlrun, write_csv, monkeypatch):
    monkeypatch.setenv("OC_CAUSE", "1")  # as under a debugger: an error can be its own cause
    write_csv("conf/task/mine.yaml", "# mine\ndefaults: [csv, _self_]\ntask: mine\n")
    assert "must start with the line: # @package _global_" in mlrun("task=mine").err


@pytest.mark.slow
def test_a_sweep_folder_given_for_a_run_lists_its_runs(mlrun, finished):
    finished("sweep", "-m", "seed=1,2", "debug=smoke", "trainer.epochs=4", "quiet=true")
    assert "it contains runs: 0, 1" in mlrun("evaluate", "sweep").err


def test_logistic_regression_has_one_logit(mlrun, write_csv):
    write_csv("my.csv", FLOWERS)
    options = ("model=linear", "loss=bce_with_logits", "optimizer.lr=0.1", "quiet=true")
    run = mlrun("task=csv", "data.train=my.csv", *options).run
    assert record(run)["parameters"] == 1 + 3 + 1  # petal, three colors with the unknown, bias
    assert record(run)["metrics"]["valid"]["accuracy"] == 1.0


def test_a_table_with_fewer_rows_than_a_batch_trains(mlrun, write_csv):
    write_csv("my.csv", "\n".join(PEOPLE.splitlines()[:4]) + "\n")
    assert mlrun("task=csv", "data.train=my.csv", "model.norm=none", *SMOKE).code == 0


def test_batch_norm_survives_a_last_batch_of_one_row(mlrun, write_csv):
    write_csv("my.csv", PEOPLE)  # 32 training rows: 31 + 1
    norm = ("model.norm=batch", "trainer.batch_size=31", "trainer.epochs=2", "quiet=true")
    assert mlrun("task=csv", "data.train=my.csv", *norm).code == 0


@pytest.mark.parametrize(
    ("task", "word", "features"),
    [
        ("covid", "data.features=[tested_positive.3,tested_positive.2]", 2),
        ("covid", "++data.features=[tested_positive.3]", 1),
        ("covid", "data.features={top: 3}", 3),
        ("covid", "data.features={top: 3, by: correlation}", 3),
    ],
)
@pytest.mark.slow
def test_a_list_replaces_a_mapping_and_a_mapping_is_merged(mlrun, task, word, features):
    run = mlrun(f"task={task}", word, *SMOKE).run
    assert json.loads((run / "run.json").read_text())["spec"]["in_shape"] == [features]


@pytest.mark.parametrize(
    ("words", "advised"),
    [
        ((), ["trainer.clip_norm=1"]),
        (("data.scale=none",), ["trainer.clip_norm=1", "data.scale=standard"]),
        (("trainer.clip_norm=1", "data.scale_target=false"), ["data.scale_target=true"]),
        (("trainer.clip_norm=0.5", "trainer.engine=autograd"), []),
        (("trainer.clip_norm=9", "seeds=2"), ["trainer.clip_norm=1"]),
    ],
)
@pytest.mark.slow
def test_a_run_that_diverged_advises_only_what_is_not_set(mlrun, words, advised):
    rate = ("optimizer=sgd", "optimizer.lr=1e9", "scheduler=constant", "optimizer.weight_decay=1e9")
    answer = mlrun("task=covid", *rate, *words, "quiet=true", "trainer.epochs=20")
    assert (answer.code, answer.err.count("\n") >= 1) == (1, True)
    advice = answer.err.rpartition("; try ")[2].strip()
    assert advice.startswith("a smaller optimizer.lr")
    settings = ("trainer.clip_norm=1", "data.scale=standard", "data.scale_target=true")
    assert [one for one in settings if one in advice] == advised


# --- mistakes ---


def late(*values: Any) -> pytest.ParameterSet:
    """One more mistake of a kind that the fast suite has."""
    return pytest.param(*values, marks=pytest.mark.slow)


@faults.mistakes
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        late("modle=mlp", "unknown key 'modle'. Did you mean 'model'?"),
        ("epochs=5", "unknown key 'epochs'. Did you mean 'trainer.epochs'?"),
        late("lr=5", "unknown key 'lr'. Did you mean 'optimizer.lr'?"),
        ("--model mlp", "unknown option --model; write model=mlp"),
        ("trainer.monitor=mse", "Did you mean 'valid/mse'?"),
        ("model=mpl", "no option 'mpl' in group 'model'. Did you mean 'mlp'?"),
        ("optimizer.lrr=1", "unknown key 'optimizer.lrr'. Did you mean 'lr'?"),
        late("+optimizer.lrr=1", "unknown key 'optimizer.lrr'"),
        late("+typo=1", "unknown key 'typo'"),
        ("trainer.epochs=abc", "trainer.epochs: Value 'abc'"),
        late("trainer.epochs=-1", "trainer.epochs=-1: must be at least 1"),
        late("optimizer.lr=0", "optimizer.lr=0: must be more than 0"),
        ("scheduler=step scheduler.step_size=0", "optimizer or scheduler: integer modulo"),
        late("scheduler=step scheduler.step_size=a", "scheduler.step_size=a: must be an integer"),
        ("loss=huber loss.delta=-1", "loss: huber_loss does not support"),
        late("paths=here", "paths: set one of its keys"),
        late("optimizer.lr=fast", "optimizer.lr=fast: must be a number"),
        late("optimizer.betas=[2,2]", "optimizer: Invalid beta"),
        ("optimizer.lr=1,2", "add -m to run each"),
        ("seed=[1", "cannot read 'seed=[1'"),
        late("trainer=null", "GROUP=OPTION needs the name of an option"),
        late("model=[null]", "cannot build a configuration from these arguments"),
        late("trainer=[null]", "cannot build a configuration from these arguments"),
        late("optimizer._partial_=[1]", "optimizer._partial_=[1]: must be true"),
        ("+model._partial_=true", "model._partial_=True: must be absent"),
        ("task=covid model=cnn", "Try model=mlp"),
        ("task=covid loss=cross_entropy", "use loss=mse"),
        late("task=phone_price loss=mse", "use loss=cross_entropy"),
        ("trainer.monitor=valid/accuracy", "a regression task has valid/loss"),
        ("device=cuda:99", "device=cuda:99: this machine has"),
        late("device=gpu", "device=gpu: must be one of auto, cpu, cuda"),
        ("model.hidden=[0]", "model.hidden=[0]"),
        late("model.hidden=64", "model.hidden=64: must be a list [a,b]"),
        late("data.drop=id", "data.drop=id: must be a list [a,b]"),
        late("data.split.ratio=half", "data.split.ratio=half: must be a number"),
        late("data.scale_target=maybe", "data.scale_target=maybe: must be true or false"),
        ("task=csv", "data.train is not set"),
        ("task=csv data.train=nope.csv", "no file nope.csv"),
        ("paths.data=nowhere", "no folder nowhere/covid"),
        late("data.split.methd=x", "Did you mean 'method'?"),
        ("model._target_=os.system", "refused"),
        ("model.activation={_target_:os.system}", "not allowed inside"),
        ("evalute x", "unknown command 'evalute'"),
        ("evaluate nowhere", "no run folder nowhere"),
        ("predict", "the following arguments are required: RUN"),
        ("ls modle", "no group 'modle'"),
    ],
)
def test_a_mistake_gets_a_line_or_two_exit_code_2_and_leaves_no_folder(mlrun, arguments, message):
    answer = mlrun(*arguments.split())
    assert answer.code == 2
    assert message in answer.err
    assert len(answer.err.strip().splitlines()) <= 2
    assert "Traceback" not in answer.err
    assert "use +" not in answer.err
    assert not Path("outputs").exists()


@pytest.mark.slow
def test_line_ends_and_control_characters_of_a_file_are_shown_not_printed(mlrun, write_csv):
    write_csv("my.csv", 'a,b\n"x\n\x1b[2J",1\n2,2\n3,3\n')
    answer = mlrun("task=csv", "data.train=my.csv")
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert r"'x\n\x1b[2J' is not a finite number" in answer.err


def test_a_file_in_the_place_of_a_folder_named_by_hydra_run_dir_is_reported(mlrun):
    Path("mine").write_text("")
    assert mlrun("hydra.run.dir=mine").err == "error: cannot create mine: File exists\n"


@pytest.mark.parametrize("words", ["model.hidden=[0]", *slow("~model", "hydra.run.dir=???")])
@pytest.mark.slow
def test_a_mistake_leaves_no_folder_named_by_hydra_run_dir_either(mlrun, words):
    assert mlrun("hydra.run.dir=mine", words).code == 2
    assert [*Path().glob("*")] in ([], [Path("data")])


@faults.bad_csv
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "my.csv is empty"),
        late("a,b\n", "has a header but no rows"),
        late("a,b\n1,2\n3\n", "line 3: 1 field, but the header has 2"),
        ("a,b\n1,2\n3,4,5\n", "line 3: 3 fields, but the header has 2"),
        ("a,b\n1,2\nx,3\n3,4\n4,5\n", "row 2, column 'a': 'x' is not a finite number"),
        late("a,b\n1,2\ninf,3\n3,4\n", "row 2, column 'a': 'inf' is not a finite number"),
        late("a,a,b\n1,2,3\n", "columns 1 and 2 all have the name 'a'"),
        ("a,b\n1,2\n2,\n", "my.csv has 1 row; at least 2 are needed"),
        ("a,b\n1,x\n2,x\n", "the target 'b' is x in every row"),
        late("b\n1\n2\n", "no feature column is left to predict 'b'"),
        late("a,c\n1,2\n", "has no column 'b' (data.target)"),
    ],
)
def test_a_bad_csv_is_named_with_its_place_and_leaves_no_folder(mlrun, write_csv, text, message):
    write_csv("my.csv", text)
    answer = mlrun("task=csv", "data.train=my.csv", "data.target=b", "data.split.ratio=0.3")
    assert answer.code == 2
    assert message in answer.err
    assert not Path("outputs").exists()


def spoil_magic(folder: Path) -> None:
    (folder / "t10k-labels-idx1-ubyte").write_bytes(b"\x00\x00\x0d\x01" + bytes(8))


def spoil_gzip(folder: Path) -> None:
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])


def spoil_count(folder: Path) -> None:
    labels = folder / "train-labels-idx1-ubyte"
    labels.write_bytes((folder / "t10k-labels-idx1-ubyte").read_bytes())


def spoil_by_removing(folder: Path) -> None:
    (folder / "t10k-labels-idx1-ubyte").unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        late(spoil_magic, "starts with 00 00 0d 01"),
        (spoil_gzip, "damaged or truncated gzip"),
        late(spoil_count, "has 60 images"),
        (spoil_by_removing, "no file t10k-labels-idx1-ubyte or t10k-labels-idx1-ubyte.gz"),
    ],
)
@pytest.mark.slow
def test_a_bad_image_file_is_named_and_leaves_no_folder(mlrun, mnist_files, spoil, message):
    spoil(mnist_files)
    answer = mlrun("task=mnist", *SMOKE)
    assert answer.code == 2
    assert message in answer.err
    assert not Path("outputs").exists()


def test_own_image_files_are_used_instead_of_the_sample(mlrun, mnist_files):
    run = mlrun("task=mnist", "model=cnn", "model.channels=[4]", *SMOKE).run
    assert record(run)["sample"] is False
    assert record(run)["rows"] == {"train": 54, "valid": 6, "test": 20, "predict": 20}
    assert "an IDX file of images of 8 x 8 pixels" in mlrun("show", str(run)).out


@pytest.mark.usefixtures("mnist_files")
@pytest.mark.slow
def test_show_names_an_own_data_class_instead_of_its_file_format(mlrun, write_csv):
    write_csv("own_data.py", "from mlrun.data.images import Images\nclass Own(Images): pass\n")
    write_csv("conf/data/own.yaml", "# mine\ndefaults: [mnist]\n_target_: own_data.Own\n")
    allow = "allow=[own_data.*]"
    run = str(mlrun("task=mnist", "data=own", "model=linear", allow, *SMOKE).run)
    shown = mlrun("show", run, allow).out
    assert "a file that own_data.Own can read, with 1 x 8 x 8 numbers per row" in shown


def failing_open(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Let the run fail with this error when it is about to write metrics.csv."""
    open_file: Any = os.open

    def fail(path: Any, *arguments: Any, **named: Any) -> Any:
        if "metrics.csv" in str(path):
            raise error
        return open_file(path, *arguments, **named)

    monkeypatch.setattr(os, "open", fail)


@pytest.mark.slow
def test_a_bug_keeps_its_traceback_and_exits_with_1(mlrun, monkeypatch):
    failing_open(monkeypatch, ZeroDivisionError("ours"))
    answer = mlrun(*SMOKE)
    assert answer.code == 1
    assert "Traceback" in answer.err
    assert "ZeroDivisionError: ours" in answer.err
    (run,) = Path("outputs").glob("*/*")
    assert record(run)["status"] == "failed"
    assert "ZeroDivisionError: ours" in (run / "run.log").read_text()


@faults.not_finite
@pytest.mark.slow
def test_a_diverging_run_reports_it_keeps_its_best_weights_and_exits_with_1(mlrun):
    answer = mlrun("optimizer=sgd", "optimizer.lr=1e4", "trainer.epochs=20", "scheduler=constant")
    assert answer.code == 1
    assert "diverged: the training loss is" in answer.err
    (run,) = Path("outputs").glob("*/*")
    assert record(run)["status"] == "diverged"


@pytest.mark.slow
def test_a_full_disk_is_reported_without_a_traceback(mlrun, monkeypatch):
    failing_open(monkeypatch, OSError(28, "No space left on device", "metrics.csv"))
    answer = mlrun(*SMOKE)
    assert answer.code == 2
    assert "No space left on device" in answer.err
    assert "Traceback" not in answer.err


# --- sweeps ---


@pytest.mark.slow
def test_a_sweep_runs_every_combination_into_folders_of_their_own(mlrun):
    answer = mlrun("-m", "task=covid,phone_price", "seed=0,1", "debug=smoke")
    assert answer.code == 0
    (sweep,) = Path("outputs").glob("*/*_sweep")
    tasks = {path.name: record(path)["task"] for path in sweep.iterdir() if path.is_dir()}
    assert tasks == {"0": "covid", "1": "covid", "2": "phone_price", "3": "phone_price"}


@pytest.mark.slow
def test_folders_named_in_hydras_way_are_used_and_never_twice(mlrun):
    for expected in ("mine/run", "mine/run_2"):
        assert mlrun("hydra.run.dir=mine/run", *SMOKE).run == Path(expected)
    named = ("hydra.sweep.dir=sweep", "hydra.sweep.subdir=${hydra.job.override_dirname}")
    assert mlrun("-m", "seed=1,2", "debug=smoke", *named).code == 0
    found = {path.name for path in Path("sweep").iterdir() if path.is_dir()}
    assert found == {"debug=smoke,seed=1", "debug=smoke,seed=2"}


@pytest.mark.slow
def test_a_failing_job_stops_no_other_and_is_reported_with_its_number(mlrun):
    answer = mlrun("-m", "loss=mse,cross_entropy,mae", "debug=smoke")
    assert answer.code == 1
    assert "error: job 1 (loss=cross_entropy debug=smoke) failed: CrossEntropyLoss" in answer.err
    (sweep,) = Path("outputs").glob("*/*_sweep")
    found = {path.name: record(path)["status"] for path in sweep.iterdir() if path.is_dir()}
    assert found == {"0": "done", "1": "failed", "2": "done"}


@pytest.mark.slow
def test_a_mistake_in_a_sweep_is_refused_before_any_job(mlrun):
    answer = mlrun("-m", "model=mlp,mpl", "debug=smoke")
    assert answer.code == 2
    assert "Did you mean 'mlp'?" in answer.err
