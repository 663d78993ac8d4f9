"""Train on every table of a folder with nothing but its target, and check what comes out.

Each table trains a few epochs, predicts its own file, and is exported to ONNX; the program beside
the exported model predicts the same file. Independent of mlrun, pandas and scikit-learn check the
rows, the ids, the labels and one score.

    python bench/tables_read.py [FOLDER …]   # default: tables and ../cases/tables of MLRUN_DATA

FOLDER has tables, and tables.json: name → {"target": …, "kind": …}; without an entry, the target is
the last column.
"""

import contextlib
import gzip
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, r2_score

from mlrun.cli.main import main as mlrun

FORMATS = (".csv", ".csv.gz", ".tsv", ".txt", ".data", ".xlsx", ".parquet")
EPOCHS = 3
ABOUT_FILES = (  # decisions about a file that pandas does not make
    *("archive", "comments", "decimal", "empty columns", "empty rows", "encoding", "first line"),
    *("footer", "header", "line ends", "preamble", "row names", "separator", "sheet", "units"),
)
MOST_ROWS = 20_000  # a longer table is cut, to keep the time short


def tables_of(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the tables below a folder and what is known of them."""
    file = folder / "tables.json"
    known = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    for path in sorted(folder.rglob("*")):
        if path.name.endswith(FORMATS) and "test" not in path.name:  # those have no target
            yield path, known.get(path.name.split(".")[0], {})


def checked(path: Path, about: dict[str, Any]) -> str:
    """Run all steps for a table; return what happened, or raise AssertionError."""
    words = [f"data.train={local(path)}", f"trainer.epochs={EPOCHS}", "quiet=true"]
    words += [f"data.target={quoted(about['target'])}"] if "target" in about else []
    run("task=csv", *words, "hydra.run.dir=run")
    record = json.loads(Path("run/run.json").read_text())
    spec, file = record["spec"], next(entry["path"] for entry in record["data"])
    run("predict", "run", "--input", file, "--output", "own.csv", "--allow-unknown")
    run("export", "run", "--format", "onnx", "--output", "m.onnx")
    own = pd.read_csv("own.csv", dtype=str, keep_default_na=False)
    rows = check_rows(file, own, spec)
    score = check_score(file, own, spec, record)
    check_program(file, own, spec)
    return f"{rows} rows, {spec['kind']} of '{spec['target']}', {score}"


def check_rows(file: str, own: pd.DataFrame, spec: dict[str, Any]) -> int:
    """Compare number and ids of the predictions with the file; a plain CSV only."""
    table = plain(file, spec)
    if table is None:
        return len(own)
    assert len(own) == len(table), f"{len(own)} predictions for {len(table)} rows"
    name = spec["header"][0]
    if name in table.columns:
        assert own[name].tolist() == table[name].tolist(), "the ids differ from the file's"
    if spec["classes"]:
        labels = set(table[spec["target"]].str.strip()) - {""}
        assert set(own[spec["header"][1]]) <= labels, "a label is spelled unlike the file's"
    return len(own)


def check_score(file: str, own: pd.DataFrame, spec: dict[str, Any], record: dict[str, Any]) -> str:
    """Compute a score of the validation rows with scikit-learn, and compare."""
    table = plain(file, spec)
    valid = json.loads(Path("run/split.json").read_text())["valid"]
    name, metrics = spec["target"], record["metrics"]["valid"]
    if table is None or (table[name] == "").any():
        return "score not compared"
    truth, guess = table[name].iloc[valid], own[spec["header"][1]].iloc[valid]
    if spec["classes"]:
        found, recorded = accuracy_score(truth.str.strip(), guess), metrics["accuracy"]
    else:
        numbers = pd.to_numeric(truth, errors="coerce")
        if numbers.isna().any():
            return "score not compared"
        found, recorded = r2_score(numbers, guess.astype(float)), metrics["r2"]
    assert abs(found - recorded) <= 1e-4 * max(1, abs(found)), f"{found} is recorded as {recorded}"
    return f"{'accuracy' if spec['classes'] else 'r2'} {found:.3f}"


def check_program(file: str, own: pd.DataFrame, spec: dict[str, Any]) -> None:
    """Compare the predictions of the exported model, read by its own program."""
    if plain(file, spec) is None:
        return
    command = [sys.executable, "-I", "m.onnx.py", file]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-300:]
    theirs = pd.read_csv(io.StringIO(done.stdout), dtype=str, keep_default_na=False)
    first, second = own[spec["header"][1]], theirs[spec["header"][1]]
    assert len(first) == len(second), "the exported model has other rows"
    if spec["classes"]:
        agree = float((first == second).mean())
        assert agree > 0.999, f"only {agree:.4f} of the labels agree"  # ties may differ
        return
    scale = spec["target_scale"]
    worst = float(np.abs(first.astype(float) - second.astype(float)).max())
    assert worst <= 1e-4 * scale, f"the exported model differs by {worst}"


def plain(file: str, spec: dict[str, Any]) -> pd.DataFrame | None:
    """Return the cells of a plain CSV file as texts; None for other files."""
    decided = json.loads(Path("run/run.json").read_text())["read"]
    if any(one["what"] in ABOUT_FILES for one in decided):
        return None  # mlrun decided something about it that pandas does not
    try:
        table = pd.read_csv(
            file, dtype=str, keep_default_na=False, skipinitialspace=True, index_col=False
        )
    except (ValueError, UnicodeDecodeError):
        return None
    table = table.rename(columns=str.strip)
    table = table[(table != "").any(axis=1)].reset_index(drop=True)
    return table if spec["target"] in table.columns else None


def local(path: Path) -> Path:
    """Return a copy of the table in the current folder, unpacked and not too long."""
    name = path.name.removesuffix(".gz")
    with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as file:
        lines = [line for _, line in zip(range(MOST_ROWS + 1), file, strict=False)]
    binary = path.suffix in (".xlsx", ".parquet")
    Path(name).write_bytes(path.read_bytes() if binary else b"".join(lines))
    return Path(name)


def quoted(name: str) -> str:
    """Return a column name as an override takes it."""
    return name if name.isidentifier() else json.dumps(name, ensure_ascii=False)


def run(*words: str) -> None:
    """Run mlrun and expect success."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = mlrun(words)
    assert code == 0, f"mlrun {' '.join(words)}: {err.getvalue().strip()[-300:]}"


def main() -> int:
    """Check every table, print a line for each, and return 1 if one failed."""
    data = Path(os.environ.get("MLRUN_DATA", "data")).resolve()
    default = (data / "tables", data.parent / "cases" / "tables")
    folders = [Path(word).resolve() for word in sys.argv[1:]] or default
    failed, count = 0, 0
    for path, about in (entry for folder in folders for entry in tables_of(folder)):
        count += 1
        with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
            try:
                line = f"ok      {checked(path, about)}"
            except AssertionError as error:
                failed, line = failed + 1, f"FAILED  {error}"
        print(f"{path.parent.name}/{path.name:32} {line}", flush=True)
    if not count:
        sys.exit(f"no tables in {' or '.join(map(str, folders))}; set MLRUN_DATA, or FOLDER=…")
    print(f"{count - failed} of {count} tables are read, learned from, predicted and exported")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
