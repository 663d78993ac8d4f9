"""show: describe a run and the input it needs, from its folder alone."""

from collections.abc import Iterator, Mapping
from typing import Any

from mlrun.data.dataset import Spec
from mlrun.runs.ensemble import is_ensemble, member_runs, open_ensemble
from mlrun.runs.finish import STOP_REASONS
from mlrun.runs.folder import RunFolder, open_run
from mlrun.system.files import blamed_on
from mlrun.training.metrics import shown

MOST = 8  # number of classes or categories to list
IDX = "mlrun.data.images.Images"  # mlrun's own data class for images


def show(folder: str) -> list[tuple[str, str]]:
    """Return (name, text) lines about a run: status, task, scores, and columns of a new file.

    Raises:
        MlrunError: there is no such run, or its folder is damaged.
    """
    run = open_run(folder)
    with blamed_on(run.path / "run.json"):
        lines = [*_history(run)]
    if run.best.is_file() or is_ensemble(run):
        ensemble = open_ensemble(run)
        with blamed_on(run.path):
            data = ensemble.values["data"]["_target_"]
            lines += _contract(ensemble.members[0].contract, ensemble.spec, data)
        lines.append(("new rows", f"mlrun predict {run.path} --input FILE"))
    if run.entry("status", str) != "done":
        lines.append(("continue", f"mlrun resume {run.path}"))
    return lines


def _history(run: RunFolder) -> Iterator[tuple[str, str]]:
    record = run.record
    yield "status", f"{run.entry('status', str)} ({record.get('error', record.get('ended'))})"
    yield "command", run.entry("command", str)
    spec = Spec.from_record(run.entry("spec", dict), str(run.path / "run.json"))
    features = "x".join(map(str, spec.in_shape))
    yield "task", f"{spec.kind} of '{spec.target}' from {features} features"
    if spec.classes:
        yield "classes", _listed(spec.classes)
    if is_ensemble(run):
        yield "members", ", ".join(one.path.name for one in member_runs(run))
    else:
        if "stopped" in record:
            yield "stopped", STOP_REASONS[record["stopped"]]
        yield "best epoch", f"{record.get('best_epoch')} of {record.get('epochs')}"
    for name, values in record.get("metrics", {}).items():
        yield name, shown(values)
    versions = run.entry("versions", dict)
    made_with = ", ".join(f"{name} {versions.get(name)}" for name in ("mlrun", "torch", "python"))
    yield "trained", f"{record.get('started')} on {record.get('device')} with {made_with}"
    for file in run.entry("data", list):
        sample = " (bundled SAMPLE data)" if record.get("sample") else ""
        yield f"{file['role']} file", f"{file['path']}{sample}"


def _contract(contract: Mapping[str, Any], spec: Spec, data: str) -> Iterator[tuple[str, str]]:
    """Yield lines about the contents of a new file; `data` is the data class that reads it."""
    if contract["input"] == "images" and data == IDX:
        yield "input", f"an IDX file of images of {' x '.join(map(str, spec.in_shape[1:]))} pixels"
        return
    if contract["input"] == "images":
        shape = " x ".join(map(str, spec.in_shape))
        yield "input", f"a file that {data} can read, with {shape} numbers per row"
        return
    columns = contract["columns"]
    plain = [column for column in columns if column["categories"] is None]
    numbers = [column["name"] for column in plain if column["date"] is None]
    dates = {column["name"]: column["date"]["format"] for column in plain if column["date"]}
    for name, form in dates.items():
        yield "dates", f"{name}: {form}"
    if numbers:
        yield "numbers", ", ".join(numbers)
    for column in columns:
        if column["categories"] is not None:
            yield "category", f"{column['name']}: {_listed(column['categories'])}"
    optional = list(dict.fromkeys(c["name"] for c in columns if c["fill"] is not None))
    yield "optional", _listed(optional) if optional else "no missing values allowed"


def _listed(names: Any) -> str:
    more = f" … ({len(names)})" if len(names) > MOST else ""
    return ", ".join(map(str, names[:MOST])) + more
