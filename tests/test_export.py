"""mlrun export: the three formats answer as the model does, or no file is kept."""

import copy
import errno
import io
import json
import re
import runpy
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mlrun.cli.main import main
from mlrun.config.build import build
from mlrun.data.dataset import Spec
from mlrun.data.findings import Findings
from mlrun.data.preprocess.apply import raw_rows
from mlrun.data.preprocess.fit import fit_table
from mlrun.data.preprocess.module import Contract, build_preprocess
from mlrun.data.preprocess.plan import ColumnPlan, MissingValues
from mlrun.data.rows import Rows
from mlrun.data.sample import write_sample
from mlrun.errors import MlrunError
from mlrun.export import onnx_file, safetensors_file, torch_file
from mlrun.export.check import largest_difference
from mlrun.export.program import program_for
from mlrun.export.write import SUFFIXES, Exported, facts_of, format_of, write
from mlrun.models.layers import ACTIVATIONS, build_activation
from mlrun.runs.folder import open_run
from mlrun.runs.predictor import Predictor, open_predictor
from mlrun.training.engines.autograd import outputs_by_torch
from mlrun.training.objective import build_objective
from tests.test_cli import SMOKE

EXPORT = Path(__file__).resolve().parents[1] / "docs" / "export.md"
TABLE = pd.DataFrame(
    {
        "petal length (cm)": [1.5, np.nan, 3.0, 1e6, -2.0, 0.0],
        "color": ["red", "blue", None, "rosé, dark", "red", "blue"],
        "model/floor": ["10", "9", "9", "10", "0", "9"],
    }
)
KINDS = ("iris", "iris", "rose", "rose", "rose")
FLOWERS = "petal,color,floor,kind\n" + "".join(
    f"{'' if n % 5 == 4 else n % 7},{('red', 'blue', '')[n % 3]},{n % 2 + 9},{KINDS[n % 5]}\n"
    for n in range(60)
)
ALLOW = "--allow-unknown"
NEW = "surplus,floor,color,petal\nx,9,blue,2.5\nx,10,,6\nx,11,green,\nx,9,red,0\n"


def untrained(
    *,
    classes: tuple[str, ...] = ("a", "b", "c"),
    loss: str = "CrossEntropyLoss",
    missing: str = "mean",
    **settings: Any,
) -> tuple[Predictor, dict[str, Any]]:
    """A model nobody trained, with weights that matter, on rows of TABLE."""
    model = {"hidden": [5, 4], "activation": "elu", "dropout": 0.5, "norm": "batch"} | settings
    model = {"_target_": "mlrun.models.mlp.MLP", "init": "default"} | model
    config = {"model": model, "loss": {"_target_": f"torch.nn.{loss}"}}
    table = TABLE if missing == "mean" else TABLE.dropna()
    path, categorical = Path("t.csv"), ["color", "model/floor"]
    contract = fit_table(
        table,
        np.arange(len(table)),
        ColumnPlan(categorical, missing=MissingValues(missing)),
        path=path,
        encode="onehot",
        scale="standard",
        told=Findings("t.csv"),
    )
    kind = "classification" if classes else "regression"
    spec = Spec(kind, (len(contract["features"]),), len(classes) or 1, classes, target="y")
    spec = replace(spec, target_center=0.0 if classes else 1e4, target_scale=1 if classes else 50.0)
    rows = raw_rows(table, contract, path)
    assert isinstance(rows, torch.Tensor)
    return rebuilt(config, spec, contract, rows), config


def rebuilt(
    config: dict[str, Any], spec: Spec, contract: Contract, rows: torch.Tensor
) -> Predictor:
    torch.manual_seed(0)
    objective = build_objective(config, spec)
    model = build("model", config, in_shape=spec.in_shape, out_features=objective.out_features)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2.0)
        if isinstance(layer, nn.PReLU):
            nn.init.uniform_(layer.weight)
    model, preprocess = objective.complete(model), build_preprocess(contract)
    return Predictor(model, objective, preprocess, contract, by_torch, torch.device("cpu"), rows)


by_torch = partial(outputs_by_torch, precision="32")


def written(predictor: Predictor, config: dict[str, Any], name: str) -> Exported:
    return write(Path(f"model{SUFFIXES[name]}"), format_of(name), predictor, config)


def last_layer(predictor: Predictor) -> nn.Linear:
    *_, last = predictor.model.modules()
    assert isinstance(last, nn.Linear)
    return last


def session(path: Path | str) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


# --- every model, in every format ---


ALL = [
    pytest.param(name, marks=() if name == "safetensors" else pytest.mark.slow) for name in SUFFIXES
]  # the others take seconds a network: in the fast suite once, by the documented code


@pytest.mark.parametrize("name", ALL)
def test_a_network_with_every_activation_has_the_same_outputs(name):
    predictor, config = untrained(loss="BCEWithLogitsLoss", hidden=[6] * len(ACTIVATIONS))
    if name == "safetensors":  # which rebuilds the model from the configuration
        predictor, config = untrained(activation="prelu")
    else:
        assert isinstance(predictor.model, nn.Sequential)
        for number, activation in enumerate(ACTIVATIONS):
            predictor.model[4 * number + 3] = build_activation(activation)
        kinds = [type(layer).__name__ for layer in predictor.model]
        assert kinds[1:5] == ["Linear", "BatchNorm1d", "Identity", "Dropout"]
        assert {"RReLU", "PReLU", "GELU", "SiLU", "ELU"} < {*kinds}
    assert written(predictor, config, name).difference < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("name", SUFFIXES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_each_activation_has_the_same_outputs(activation, name):
    predictor, config = untrained(activation=activation)
    assert written(predictor, config, name).difference < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("name", SUFFIXES)
@pytest.mark.parametrize(
    ("loss", "classes"),
    [
        ("MSELoss", ()),
        ("NLLLoss", ("no", "yes")),
        ("BCEWithLogitsLoss", ("no", "yes")),
        ("BCEWithLogitsLoss", ("a", "b", "c")),
    ],
)
def test_each_loss_has_the_same_outputs(loss, classes, name):
    predictor, config = untrained(loss=loss, classes=classes)
    assert written(predictor, config, name).difference < (1e-6 if classes else 2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", SUFFIXES)
def test_data_without_missing_values_has_the_same_outputs(name):
    predictor, config = untrained(missing="error")
    assert written(predictor, config, name).difference < 1e-6


def test_a_model_trained_in_bf16_is_exported_in_float32():
    predictor, config = untrained()
    rough = partial(outputs_by_torch, precision="bf16")
    assert written(replace(predictor, outputs_of=rough), config, "safetensors").difference < 1e-6


# --- whole commands ---


@pytest.fixture(scope="module")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes from categories and a number, values of each missing; the data is gone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("flowers"))
        data = Path("my.csv").resolve()
        data.write_text(FLOWERS)
        settings = ["data.target=kind", "data.categorical=[color,floor]", "data.missing=mean"]
        chosen = ["loss=bce_with_logits", "optimizer.lr=0.1", "trainer.epochs=5", "quiet=true"]
        assert main(["task=csv", f"data.train={data}", *settings, *chosen]) == 0
        data.unlink()
        return next(Path("outputs").resolve().glob("*/*"))


@pytest.fixture
def moved_run(trained_run: Path, workdir: Path) -> Path:
    return Path(shutil.copytree(trained_run, workdir / "moved"))


def labels_of(path: str) -> list[str]:
    return pd.read_csv(path)["kind"].tolist()


def snippet(name: str) -> str:
    """The Python of the section of docs/export.md that is about a format."""
    title = {"onnx": "ONNX", "torch_export": "torch.export", "safetensors": "safetensors"}[name]
    section = EXPORT.read_text().split(f"## {title}\n")[1].split("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    return str(code)


@pytest.mark.slow
@pytest.mark.parametrize("name", SUFFIXES)
def test_the_documented_code_predicts_as_mlrun_does(mlrun, write_csv, moved_run, name):
    write_csv("new.csv", NEW)
    answer = mlrun("predict", str(moved_run), "--input", "new.csv", "--output", "p.csv", ALLOW)
    assert answer.code == 0
    answer = mlrun("export", str(moved_run), "--format", name)
    assert (answer.code, answer.err) == (0, "")
    path = re.escape(str(moved_run / f"model{SUFFIXES[name]}"))
    compared = rf"{path}  \(1036 rows compared, largest difference [\d.e-]+\)"
    program = moved_run / f"model{SUFFIXES[name]}.py"
    line = "" if name == "safetensors" else f"new rows: python {re.escape(str(program))} FILE\n"
    assert re.fullmatch(f"{compared}\n{line}", answer.out)
    for file in moved_run.glob(f"model{SUFFIXES[name]}*"):
        shutil.move(file, ".")
    if program.name in {path.name for path in Path().iterdir()}:
        printed = subprocess.run(
            [sys.executable, "-I", program.name, "new.csv"], capture_output=True, text=True
        )
        assert (printed.returncode, printed.stderr) == (0, "")
        assert pd.read_csv(io.StringIO(printed.stdout))["kind"].tolist() == labels_of("p.csv")
    namespace: dict[str, Any] = {}
    exec(snippet(name), namespace)
    assert [*namespace["labels"]] == labels_of("p.csv")
    assert {*labels_of("p.csv")} == {"iris", "rose"}


@pytest.mark.slow
def test_onnx_takes_one_row_and_any_unknown_category(mlrun, moved_run):
    assert mlrun("export", str(moved_run), "--format", "onnx", "--output", "m.onnx").code == 0
    model = session("m.onnx")

    def answer(*colors: str) -> Any:
        column = np.array([colors], dtype=object).T
        floor, petal = np.full_like(column, "9"), np.full(column.shape, 2.0)
        return model.run(None, {"color": column, "floor": floor, "petal": petal})

    labels, probabilities = answer("red", "green", "(unknown)", "Red", "")
    assert (labels.shape, probabilities.shape, probabilities.dtype) == ((5,), (5, 2), np.float32)
    assert (probabilities[1:] == probabilities[1]).all()
    assert (probabilities[0] != probabilities[1]).all()
    alone_label, alone = answer("red")
    assert ([*alone_label], pytest.approx(alone)) == ([labels[0]], probabilities[:1])
    facts = model.get_modelmeta().custom_metadata_map
    assert json.loads(facts["spec"])["classes"] == ["iris", "rose"]
    assert [column["name"] for column in json.loads(facts["contract"])["columns"]] == [
        entry.name for entry in model.get_inputs()
    ]


@pytest.mark.slow
def test_a_regression_gives_the_numbers_of_pred_csv_and_leaves_the_folder_alone(mlrun, finished):
    run = finished("run", "task=covid", *SMOKE)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert mlrun("export", str(run), "--format", "onnx", "--output", "m.onnx").code == 0
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
    table, model = pd.read_csv(write_sample("covid") / "covid.test.csv"), session("m.onnx")
    inputs = {i.name: table[[i.name]].to_numpy("float64") for i in model.get_inputs()}
    (found,) = model.run(None, inputs)
    wanted = pd.read_csv(run / "pred.csv")["tested_positive"].to_numpy()
    assert found.ravel() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.slow
def test_a_convolutional_network_has_the_same_outputs(mlrun, mnist_files):
    settings = ("model=cnn", "model.channels=[3,4]", "model.activation=rrelu", "loss=nll")
    run = mlrun("task=mnist", *settings, *SMOKE).run
    for name in SUFFIXES:
        answer = mlrun("export", str(run), "--format", name)
        assert (answer.code, answer.err) == (0, "")
    images = np.random.default_rng(0).integers(0, 255, (3, 1, 8, 8), dtype=np.uint8)
    labels, _ = session(run / "model.onnx").run(None, {"images": images})
    answers = safetensors_file.load(run / "model.safetensors")(torch.from_numpy(images))
    assert [int(label) for label in labels] == answers["prediction"].tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--format", "onx"), "onx: must be onnx or torch_export or safetensors. Did you mean"),
        ((), "the following arguments are required: --format"),
        (("--format", "safetensors", "--output", "no/such/m"), "cannot write no/such/m: No such"),
        (("--format", "safetensors", "--output", "f/m"), "f/m: Not a directory; see --output"),
        (("--format", "safetensors", "--output", "."), "cannot write .: "),
    ],
)
@pytest.mark.slow
def test_mistakes_are_reported(mlrun, write_csv, trained_run, arguments, message):
    write_csv("f", "a file")
    answer = mlrun("export", str(trained_run), *arguments)
    assert (answer.code, message in answer.err) == (2, True)
    assert len(answer.err.splitlines()) == 1


def test_a_folder_that_cannot_be_written_is_reported(mlrun, trained_run, monkeypatch):
    open_file = Path.open

    def read_only(self: Path, mode: str = "r", *arguments: Any, **named: Any) -> Any:
        if not mode.startswith("r"):
            raise OSError(errno.EROFS, "Read-only file system", str(self))
        return open_file(self, mode, *arguments, **named)

    monkeypatch.setattr(Path, "open", read_only)
    answer = mlrun("export", str(trained_run), "--format", "safetensors")
    assert answer.code == 2
    assert answer.err.endswith("model.safetensors: Read-only file system; see --output\n")


def test_onnx_that_is_not_installed_is_named(mlrun, trained_run, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "mlrun.export.onnx_file")
    monkeypatch.delattr("mlrun.export.onnx_file")
    answer = mlrun("export", str(trained_run), "--format", "onnx")
    assert answer.code == 2
    assert answer.err.endswith("needs the package onnxruntime: pip install 'mlrun-cli[onnx]'\n")


# --- what is refused ---


@pytest.mark.parametrize("name", ALL)
def test_a_file_with_other_outputs_is_not_kept(name, monkeypatch):
    predictor, config = untrained()
    original = format_of(name)

    def damaged(predictor: Predictor, facts: torch_file.Facts) -> bytes:
        predictor = replace(predictor, model=copy.deepcopy(predictor.model))
        last_layer(predictor).weight.data[0, 0] += 1e-3
        return original.to_bytes(predictor, facts)

    Path(f"model{SUFFIXES[name]}").write_text("the one before")
    with pytest.raises(MlrunError, match=r"differs from the original by .* no file was kept"):
        write(
            Path(f"model{SUFFIXES[name]}"), replace(original, to_bytes=damaged), predictor, config
        )
    assert [path.read_text() for path in Path().iterdir()] == ["the one before"]


def answers_of(predictor: Predictor, **changes: Any) -> Any:
    """The right answers, but for what `changes` does to some of them."""
    model = torch_file.RawModel(predictor.contract, predictor.model, predictor.objective)

    def answer(rows: torch.Tensor) -> torch_file.Answers:
        right: torch_file.Answers = model(rows)
        return right | {name: change(right[name]) for name, change in changes.items()}

    return answer


@pytest.mark.parametrize(
    "changes",
    [
        {"prediction": lambda numbers: (numbers + 1) % 3},
        {"probabilities": lambda shares: shares + 1e-4},
        {"probabilities": lambda shares: shares * torch.nan},
        {"probabilities": lambda shares: shares[:1]},
    ],
)
def test_wrong_classes_and_probabilities_are_noticed(changes):
    predictor, _ = untrained()
    assert largest_difference(predictor, answers_of(predictor)) < 1e-6
    with pytest.raises(MlrunError, match="no file was kept"):
        largest_difference(predictor, answers_of(predictor, **changes))


def test_classes_that_tie_may_be_either():
    predictor, _ = untrained()
    nn.init.zeros_(last_layer(predictor).weight)
    nn.init.zeros_(last_layer(predictor).bias)
    other = answers_of(predictor, prediction=lambda numbers: (numbers + 1) % 3)
    assert largest_difference(predictor, other) < 1e-6


def test_a_value_is_compared_at_the_scale_it_was_learned_at():
    predictor, _ = untrained(loss="MSELoss", classes=())  # 10,000 ± 50
    near = answers_of(predictor, prediction=lambda values: values + 0.0002)
    assert largest_difference(predictor, near) == pytest.approx(0.0002, rel=0.5)
    far = answers_of(predictor, prediction=lambda values: values + 0.1)
    with pytest.raises(MlrunError, match="differs"):
        largest_difference(predictor, far)


def test_more_weights_than_protobuf_holds_are_refused(monkeypatch):
    monkeypatch.setattr(onnx_file, "LARGEST", 100)
    with pytest.raises(MlrunError, match="to 2 GB; use --format torch_export or safetensors"):
        written(*untrained(), "onnx")


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"name": "prediction", "categories": None}, "'prediction' has the name of an output"),
        ({"name": "color", "categories": ["", "red"]}, "'color' has an empty category"),
    ],
)
def test_columns_that_onnx_cannot_take_are_refused(column, message):
    predictor, config = untrained()
    predictor = replace(
        predictor, contract={"input": "table", "columns": [column | {"fill": 1.0, "date": None}]}
    )
    with pytest.raises(MlrunError, match=message):
        written(predictor, config, "onnx")


@pytest.mark.slow
def test_columns_may_have_the_names_of_the_graphs_own():
    predictor, config = untrained()
    names = ["rows", "model/rows", "_model/code_1"]
    columns = [c | {"name": n} for c, n in zip(predictor.contract["columns"], names, strict=True)]
    predictor = replace(predictor, contract=predictor.contract | {"columns": columns})
    assert written(predictor, config, "onnx").difference < 1e-6
    assert [entry.name for entry in session("model.onnx").get_inputs()] == names


@pytest.mark.parametrize("name", ALL)
def test_files_contain_nothing_about_this_machine_and_no_row(name):
    predictor, config = untrained()
    predictor.examples[0, 0] = 1234.56789
    content = written(predictor, config, name).path.read_bytes()
    assert str(Path(torch.__file__).parents[1]).encode() not in content
    assert str(EXPORT.parents[1]).encode() not in content
    assert np.float64(1234.56789).tobytes() not in content


@pytest.mark.parametrize("metadata", [{}, {"config": "{"}, {"config": "[]"}])
def test_foreign_safetensors_are_refused(metadata):
    save_file({"weight": torch.zeros(1)}, "m.safetensors", metadata=metadata)
    with pytest.raises(MlrunError, match=r"m\.safetensors is damaged"):
        safetensors_file.load("m.safetensors")


def test_a_safetensors_file_cannot_have_other_classes_built():
    predictor, config = untrained()
    config["model"]["_target_"] = "os.system"
    content = safetensors_file.to_bytes(predictor, facts_of(predictor, config))
    Path("m.safetensors").write_bytes(content)
    with pytest.raises(MlrunError, match=r"model\._target_=os\.system: refused"):
        safetensors_file.load("m.safetensors")


def test_a_damaged_safetensors_file_is_refused():
    path = written(*untrained(), "safetensors").path
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(MlrunError, match="is damaged"):
        safetensors_file.load(path)


ODD = "z,c,flag,price,y\n" + "".join(
    f"{'' if n % 9 == 0 else float(n % 3)},{('red', 'Blue ', '10', '7.0')[n % 4]},"
    f'{("TRUE", "FALSE")[n % 2]},"${n * 900:,}",{n % 3 + n % 4 + n % 2 + n / 40:.2f}\n'
    for n in range(1, 81)
)
NEW_ODD = (
    'z,c,flag,price\n2.0,Blue ,true,"$1,000"\n 1 ,10.0,False,500\n,  red,FALSE,?\n9,green,TRUE,$7\n'
)


def test_the_program_of_an_export_reads_odd_cells_as_mlrun_does(mlrun, write_csv):
    write_csv("odd.csv", ODD)
    write_csv("new.csv", NEW_ODD)
    data = ("task=csv", "data.train=odd.csv", "data.target=y", "data.categorical=[z]")
    assert mlrun(*data, *SMOKE, "hydra.run.dir=run").code == 0
    answer = mlrun("predict", "run", "--input", "new.csv", "--output", "p.csv", ALLOW)
    assert answer.code == 0
    predictor, _ = open_predictor(open_run("run"))
    contract = predictor.contract
    program = program_for("torch_export", "m.pt2")
    assert program is not None
    Path("m.pt2.py").write_text(program)
    reader = runpy.run_path("m.pt2.py")
    rows = reader["raw_inputs"](reader["read_texts"]("new.csv"), contract)
    found = predictor.objective.decode(predictor.outputs(Rows(torch.tensor(rows), None, [])))
    assert found.ravel().tolist() == pytest.approx(pd.read_csv("p.csv")["y"].tolist(), rel=1e-6)
    levels = {column["name"]: column["categories"] for column in contract["columns"]}
    assert levels["z"] == ["0.0", "1.0", "2.0"]
    assert sorted(levels["c"]) == ["10", "7.0", "Blue", "red"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["onnx", "torch_export"])
def test_an_exported_model_with_its_program_answers_odd_cells_as_mlrun_does(mlrun, write_csv, name):
    write_csv("odd.csv", ODD)
    write_csv("new.csv", NEW_ODD)
    data = ("task=csv", "data.train=odd.csv", "data.target=y", "data.categorical=[z]")
    assert mlrun(*data, *SMOKE, "optimizer.lr=0.1", "hydra.run.dir=run").code == 0
    assert mlrun("predict", "run", "--input", "new.csv", "--output", "p.csv", ALLOW).code == 0
    assert mlrun("export", "run", "--format", name).code == 0
    program = [sys.executable, "-I", f"run/model{SUFFIXES[name]}.py", "new.csv"]
    printed = subprocess.run(program, capture_output=True, text=True)
    assert (printed.returncode, printed.stderr) == (0, "")
    found, wanted = pd.read_csv(io.StringIO(printed.stdout)), pd.read_csv("p.csv")
    assert found["y"].tolist() == pytest.approx(wanted["y"].tolist(), rel=1e-5)


def test_a_model_of_very_many_columns_is_exported(monkeypatch):
    monkeypatch.setattr("mlrun.data.preprocess.apply.MOST_IN_MEMORY", 1024)
    predictor, config = untrained()
    assert written(predictor, config, "safetensors").difference < 1e-6


@pytest.mark.slow
def test_no_row_of_the_checks_file_is_taken_for_a_note_or_a_comment(mlrun, write_csv, monkeypatch):
    levels = [*range(10, 100, 10), "# 1"]
    write_csv(
        "t.csv",
        "c,d,y\n" + "".join(f"{levels[n % 10]},{'a' * (n % 3)},{n / 4}\n" for n in range(60)),
    )
    data = ("task=csv", "data.train=t.csv", "data.target=y", "data.categorical=[c]")
    assert mlrun(*data, *SMOKE, "hydra.run.dir=run").code == 0
    predictor, _ = open_predictor(open_run("run"))
    for number in range(1, 80):  # so that every one of these rows is the last one once
        monkeypatch.setattr("mlrun.export.odd_rows.ROWS", number)
        assert largest_difference(predictor, answers_of(predictor)) < 1e-5


@pytest.mark.slow
def test_a_program_of_someone_else_is_not_replaced(mlrun, moved_run):
    Path("m.pt2.py").write_text("print('mine')\n")
    answer = mlrun("export", str(moved_run), "--format", "torch_export", "--output", "m.pt2")
    assert answer.code == 0
    assert "m.pt2.py exists and is not from mlrun export" in answer.err
    assert Path("m.pt2.py").read_text() == "print('mine')\n"
