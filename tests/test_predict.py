"""evaluate and predict on new files: the prediction contract."""

import builtins
import csv
import shutil
from pathlib import Path
from typing import Any

import pytest

from mlrun.cli.main import main
from tests import faults
from tests.test_cli import FLOWERS, SMOKE


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small run that all tests here copy."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "my.csv").write_text(FLOWERS)
    arguments = ("task=csv", f"data.train={folder}/my.csv", "data.target=kind", *SMOKE)
    assert main([*arguments, f"hydra.run.dir={folder}/run"]) == 0
    return folder / "run"


@pytest.fixture
def flower_run(predictor: Path, workdir: Path) -> Path:
    """outputs/run, trained on my.csv."""
    shutil.copytree(predictor, "outputs/run")
    record = (predictor / "run.json").read_text().replace(str(predictor.parent), str(workdir))
    Path("outputs/run/run.json").write_text(record)
    Path("my.csv").write_text(FLOWERS)
    return Path("outputs/run")


@pytest.mark.slow
def test_a_new_file_in_another_column_order_predicts_the_same(mlrun, write_csv, flower_run):
    write_csv("a.csv", "petal,color\n1.5,red\n2.5,blue\n")
    write_csv("b.csv", "color,surplus,petal\nred,x,1.5\nblue,y,2.5\n")
    for name in "ab":
        assert mlrun("predict", str(flower_run), "--input", f"{name}.csv").code == 0
    first, second = ((flower_run / f"pred_{name}.csv").read_text() for name in "ab")
    assert first == second


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("petal,colour\n1,red\n", "columns are missing: 'color'. Did you mean 'colour'?"),
        ("petal,color\n1,red\nlong,blue\n", "row 2, column 'petal': 'long' is not a finite number"),
        ("", "is empty"),
    ],
)
def test_a_file_that_does_not_fit_is_explained_and_nothing_written(
    mlrun, write_csv, flower_run, text, message
):
    write_csv("new.csv", text)
    answer = mlrun("predict", str(flower_run), "--input", "new.csv", "--output", "out.csv")
    assert (answer.code, Path("out.csv").exists()) == (2, False)
    assert message in answer.err
    assert len(answer.err.splitlines()) <= 2


def test_missing_values_of_a_new_file_are_filled_and_reported(mlrun, write_csv, flower_run):
    write_csv("new.csv", "petal,color\n,red\n1,?\n")
    answer = mlrun("predict", str(flower_run), "--input", "new.csv", "--allow-unknown")
    assert answer.code == 0
    assert "missing values are filled in as in training: 'petal' (1)" in answer.out + answer.err


def test_evaluate_scores_a_new_file_with_targets(mlrun, write_csv, flower_run):
    write_csv("new.csv", "petal,color,kind\n1,red,rose\n")
    assert "accuracy" in mlrun("evaluate", str(flower_run), "--input", "new.csv").out
    write_csv("bare.csv", "petal,color\n1,red\n")
    assert (
        "no target column 'kind'" in mlrun("evaluate", str(flower_run), "--input", "bare.csv").err
    )


@faults.moved
def test_a_run_moved_elsewhere_needs_no_training_data(mlrun, write_csv, flower_run):
    write_csv("new.csv", "petal,color,kind\n1,red,rose\n")
    Path("my.csv").unlink()
    moved = str(flower_run.rename("elsewhere"))
    given = ("--input", "new.csv")
    assert mlrun("predict", moved, *given, "--output", "out.csv").code == 0
    assert Path("out.csv").read_text().startswith("id,kind\n0,")
    assert mlrun("evaluate", moved, *given).code == 0
    assert mlrun("export", moved, "--format", "safetensors").code == 0
    assert "category    color: blue, red" in mlrun("show", moved).out
    for verb in ("evaluate", "predict", "rerun"):
        answer = mlrun(verb, moved)
        assert (answer.code, "my.csv is missing; use --data FOLDER" in answer.err) == (2, True)


@pytest.mark.parametrize("verb", ["evaluate", "predict", "rerun"])
def test_data_that_moved_is_found_by_its_hash(mlrun, flower_run, monkeypatch, verb):
    Path("there").mkdir()
    Path("my.csv").rename("there/my.csv")
    assert mlrun(verb, str(flower_run), "--data", "there").code == 0
    monkeypatch.setenv("MLRUN_DATA", "there")
    assert mlrun(verb, str(flower_run)).code == 0
    Path("there/my.csv").write_text(FLOWERS.replace("rose", "Rose"))
    answer = mlrun(verb, str(flower_run))
    assert answer.code == (1 if verb == "rerun" else 2)
    assert "my.csv has changed" in answer.out + answer.err


def test_a_run_on_the_sample_makes_the_sample_again_where_it_is_gone(mlrun):
    run = mlrun("task=phone_price", *SMOKE).run
    before = (run / "pred.csv").read_bytes()
    shutil.rmtree("data")
    assert mlrun("predict", str(run)).code == 0
    assert (run / "pred.csv").read_bytes() == before


@faults.unwritable_run
@pytest.mark.parametrize("verb", ["predict", "export"])
def test_a_read_only_run_folder_is_enough_with_output(
    mlrun, write_csv, flower_run, monkeypatch, verb
):
    write_csv("new.csv", "petal,color\n1,red\n")
    open_file = builtins.open

    def read_only(path: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
        if not mode.startswith("r") and flower_run in Path(path).parents:
            raise OSError(30, "Read-only file system", str(path))
        return open_file(path, mode, *arguments, **named)

    monkeypatch.setattr("builtins.open", read_only)
    options = ("--input", "new.csv") if verb == "predict" else ("--format", "safetensors")
    answer = mlrun(verb, str(flower_run), *options)
    assert (answer.code, "Read-only file system; see --output" in answer.err) == (2, True)
    assert mlrun(verb, str(flower_run), *options, "--output", "out").code == 0


def test_show_describes_a_run(mlrun, flower_run):
    lines = mlrun("show", str(flower_run)).out.splitlines()
    shown = {line[:12].strip(): line[12:] for line in lines}
    assert shown["status"].startswith("done (20")
    assert shown["task"] == "classification of 'kind' from 4 features"
    assert shown["classes"] == "iris, rose"
    assert shown["numbers"] == "petal"
    assert shown["category"] == "color: blue, red"
    assert shown["new rows"] == f"mlrun predict {flower_run} --input FILE"


def test_data_that_changed_since_the_run_is_noticed(mlrun, write_csv, flower_run):
    write_csv("my.csv", FLOWERS + "1,red,rose\n")
    assert "has changed" in mlrun("evaluate", str(flower_run)).err


def test_an_unwritable_output_is_reported(mlrun, write_csv, flower_run):
    write_csv("new.csv", "petal,color\n1,red\n")
    answer = mlrun("predict", str(flower_run), "--input", "new.csv", "--output", "no/such/f.csv")
    assert (answer.code, "cannot write no/such/f.csv" in answer.err) == (2, True)


def test_a_row_whose_prediction_is_not_finite_is_named(mlrun, write_csv, flower_run):
    write_csv("new.csv", "petal,color\n1,red\n1e300,red\n")
    answer = mlrun("predict", str(flower_run), "--input", "new.csv", "--output", "out.csv")
    assert (answer.code, Path("out.csv").exists()) == (2, False)
    assert "new.csv: the prediction for row '1' is not finite" in answer.err


def read(path: str) -> list[dict[str, str]]:
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def test_probabilities_come_on_request_and_sum_to_one(mlrun, write_csv, flower_run):
    write_csv("new.csv", "petal,color\n1,red\n5,blue\n")
    command = ("predict", str(flower_run), "--input", "new.csv", "--output", "out.csv", "--proba")
    assert mlrun(*command).code == 0
    for row in read("out.csv"):
        shares = {key: float(value) for key, value in row.items() if key.startswith("probability_")}
        assert sum(shares.values()) == pytest.approx(1.0, abs=1e-6)
        assert max(shares, key=lambda name: shares[name]) == f"probability_{row['kind']}"


@pytest.mark.slow
def test_a_regression_has_no_probabilities(mlrun, finished):
    run = finished("run", "task=covid", *SMOKE)
    answer = mlrun("predict", str(run), "--proba", "--output", "out.csv")
    assert (answer.code, "'tested_positive.4' is a number" in answer.err) == (2, True)
    assert not Path("out.csv").exists()


@faults.unseen_category
@pytest.mark.parametrize("verb", ["predict", "evaluate"])
def test_an_unseen_category_is_refused_by_name_unless_allowed(mlrun, write_csv, flower_run, verb):
    write_csv("new.csv", "petal,color,kind\n1,red,rose\n2,bluu,rose\n3,pink,rose\n")
    command = (verb, str(flower_run), "--input", "new.csv")
    answer = mlrun(*command)
    assert answer.code == 2
    assert (
        "new.csv, row 2, column 'color': category 'bluu' is unknown to training (and 1 more"
        in answer.err
    )
    assert "--allow-unknown maps it to (unknown). Did you mean 'blue'?" in answer.err
    assert mlrun(*command, "--allow-unknown").code == 0


def test_a_column_unknown_in_training_is_named_and_not_used(mlrun, write_csv, flower_run):
    write_csv("new.csv", "petal,color,kind,colour\n1,red,rose,x\n")
    answer = mlrun("predict", str(flower_run), "--input", "new.csv")
    assert answer.code == 0
    assert answer.err == "new.csv: ignoring 1 column(s) unknown to training: 'colour'\n"


def test_a_row_is_predicted_the_same_to_rounding_whatever_rows_it_comes_with(mlrun, write_csv):
    run = mlrun("task=covid", *SMOKE, "model.hidden=[33,7]").run
    lines = Path("data/sample/covid/covid.test.csv").read_text().splitlines()
    whole = {row["id"]: float(row["tested_positive"]) for row in read(str(run / "pred.csv"))}
    for start, count in ((1, 1), (2, 3), (40, 50)):
        write_csv("few.csv", "\n".join([lines[0], *lines[start : start + count]]) + "\n")
        assert mlrun("predict", str(run), "--input", "few.csv", "--output", "out.csv").code == 0
        few = {row["id"]: float(row["tested_positive"]) for row in read("out.csv")}
        assert few == pytest.approx({row: whole[row] for row in few}, rel=1e-5)


def test_predictions_do_not_take_the_place_of_their_input(mlrun, write_csv, flower_run):
    path = write_csv("new.csv", "petal,color\n1,red\n")
    answer = mlrun("predict", str(flower_run), "--input", "new.csv", "--output", "./new.csv")
    assert (answer.code, "new.csv is the input" in answer.err) == (2, True)
    assert path.read_text() == "petal,color\n1,red\n"


def test_the_decimals_of_a_new_file_are_those_of_training(mlrun, write_csv):
    lines = [f"{n},{n % 7};{n + n % 7 / 10}".replace(".", ",") for n in range(60)]
    write_csv("my.csv", "\n".join(["x;y", *lines]) + "\n")
    run = ("task=csv", "data.train=my.csv", "data.target=y", "model=linear", "optimizer.lr=0.1")
    assert mlrun(*run, "trainer.epochs=60", "quiet=true", "hydra.run.dir=run").code == 0
    write_csv("new.csv", "x;z\n12,345;1\n")  # 12.345 in training's spelling, and not 12,345
    assert mlrun("predict", "run", "--input", "new.csv", "--output", "p.csv").code == 0
    assert 5 < float(Path("p.csv").read_text().splitlines()[1].split(",")[1]) < 20


@pytest.mark.slow
def test_grouped_numbers_are_read_in_the_format_of_training(mlrun, write_csv):
    lines = [f"{n}.{n % 10}00,50;{n}" for n in range(1, 61)]
    write_csv("my.csv", "\n".join(["x;y", *lines]) + "\n")
    run = ("task=csv", "data.train=my.csv", "data.target=y", "model=linear", "optimizer.lr=0.1")
    assert mlrun(*run, "trainer.epochs=60", "quiet=true", "hydra.run.dir=run").code == 0
    for cell in ("30.000", "30.000,00"):  # alone, 30.000 could be thirty
        write_csv("new.csv", f"x;z\n{cell};1\n")
        assert mlrun("predict", "run", "--input", "new.csv", "--output", "p.csv").code == 0
        assert 20 < float(Path("p.csv").read_text().splitlines()[1].split(",")[1]) < 40


def test_a_number_can_mean_a_missing_value(mlrun, write_csv):
    write_csv(
        "my.csv", "x,y\n" + "".join(f"{-999 if n % 9 == 0 else n},{n}.5\n" for n in range(60))
    )
    run = ("task=csv", "data.train=my.csv", "data.target=y", "data.na_values=[-999]")
    answer = mlrun(*run, "trainer.epochs=2", "hydra.run.dir=run")
    assert answer.code == 0
    assert "missing, filled with" in answer.out
    write_csv("new.csv", "x\n-999.0\n5\n")
    answer = mlrun("predict", "run", "--input", "new.csv", "--output", "p.csv")
    assert "missing values are filled in as in training: 'x' (1)" in answer.out + answer.err


def test_a_table_without_any_target_is_refused(mlrun, write_csv):
    write_csv("my.csv", "x,y\n1,\n2,\n")
    answer = mlrun("task=csv", "data.train=my.csv", "data.target=y")
    assert (answer.code, Path("outputs").exists()) == (2, False)
    assert "no row has a target 'y'" in answer.err


@pytest.mark.parametrize("rows", ["7.0,1.0,0", "7.0,1.0,0\n6.0,2.0,1"])
@pytest.mark.slow
def test_a_new_file_has_no_header_where_training_had_none(mlrun, write_csv, rows):
    write_csv("my.csv", "".join(f"{n}.5,{n % 4}.25,{n % 2}\n" for n in range(20)))
    assert mlrun("task=csv", "data.train=my.csv", "debug=smoke", "hydra.run.dir=run").code == 0
    write_csv("new.csv", rows + "\n")
    answer = mlrun("predict", "run", "--input", "new.csv", "--output", "p.csv")
    assert answer.code == 0
    assert len(Path("p.csv").read_text().splitlines()) == 1 + rows.count("\n") + 1


def test_an_unseen_category_is_unknown_with_a_warning_where_training_had_rare_ones(
    mlrun, write_csv
):
    rows = [f"{n},{'red' if n % 2 else 'blue'},{n % 3}" for n in range(30)]
    rare = ["30,pink,1", "31,grey,2", "32,lime,0", "33,mint,1", "34,rust,2", ""]
    write_csv("rare.csv", "\n".join(["n,color,y", *rows, *rare]))
    table = ("task=csv", "data.train=rare.csv", "data.target=y", "data.min_frequency=2")
    assert mlrun(*table, *SMOKE, "hydra.run.dir=run").code == 0
    write_csv("new.csv", "n,color\n1,red\n2,black\n")
    answer = mlrun("predict", "run", "--input", "new.csv", "--output", "out.csv")
    assert answer.code == 0
    text = "new.csv, row 2, column 'color': category 'black' is unknown to training; treated as"
    assert text in answer.err
