"""Ensembles: the members of a run with `seeds` or `folds`, and their combined predictions."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlrun.config.build import build
from mlrun.data.dataset import REGRESSION, Dataset, Spec
from mlrun.data.rows import Rows
from mlrun.errors import MlrunError
from mlrun.runs.folder import RunFolder, open_run
from mlrun.runs.predictor import Predictor, open_predictor
from mlrun.training.metrics import scores
from mlrun.training.objective import Objective

MEMBERS_FOLDER = "members"


@dataclass(frozen=True)
class EnsemblePrediction:
    """The combined prediction of the members for some rows."""

    predictions: Tensor  # (n, 1): the mean; or (n,): the class with the largest mean probability
    probabilities: Tensor | None  # (n, classes): the mean
    each: Tensor  # (members, n): each member's predictions; (0, n) if their rows differ
    disagreement: Tensor  # (n,): standard deviation, or fraction of members with another class


def combined(members: Sequence[Predictor], outputs: Sequence[Tensor]) -> EnsemblePrediction:
    """Average values in the target's own unit, or probabilities.

    Args:
        members: at least one member.
        outputs: (n, out_features) of each member, for the same rows.
    """
    decoded = [m.objective.decode(output) for m, output in zip(members, outputs, strict=True)]
    each = torch.stack([predictions.flatten() for predictions in decoded])
    if members[0].spec.kind == REGRESSION:
        mean, deviation = each.mean(dim=0), each.std(dim=0, correction=0)
        return EnsemblePrediction(mean[:, None], None, each, deviation)
    probabilities = torch.stack(
        [m.objective.probabilities(output) for m, output in zip(members, outputs, strict=True)]
    ).mean(dim=0)
    classes = decoded[0] if len(decoded) == 1 else probabilities.argmax(dim=1)
    return EnsemblePrediction(classes, probabilities, each, (each != classes).double().mean(dim=0))


def combined_by_row(
    members: Sequence[Predictor], rows: Sequence[Rows], outputs: Sequence[Tensor]
) -> tuple[list[Any], EnsemblePrediction]:
    """Combine the predictions of members for their rows; return ids and predictions.

    Without a test file these are the validation rows of the members, which differ between folds.
    Each row is then predicted only by the members that did not train on it, the rows are in the
    order of the file, and `each` is empty.

    Args:
        members: at least one member.
        rows: the rows of each member, from the same source.
        outputs: (n, out_features) of each member, for its rows.

    Raises:
        MlrunError: the rows differ, and have no row numbers of their source.
    """
    if all(part is rows[0] or _same_rows(part, rows[0]) for part in rows):
        return rows[0].ids, combined(members, outputs)
    if any(part.index is None for part in rows):
        raise MlrunError("the members predict different rows; data classes must use Rows.take")
    numbers = [part.index.numpy() for part in rows if part.index is not None]
    known = np.unique(np.concatenate(numbers))
    has = np.stack([np.isin(known, own) for own in numbers])
    joint, order = [], []
    for pattern in np.unique(has, axis=1).T:  # rows of the same members
        some = known[(pattern == has.T).all(axis=1)]
        those = np.flatnonzero(pattern).tolist()
        parts = [outputs[one][_positions(some, numbers[one])] for one in those]
        joint.append(combined([members[one] for one in those], parts))
        order.append(some)
    back = torch.from_numpy(np.concatenate(order).argsort())
    return [rows[0].names[number] for number in known.tolist()], _rejoined(joint, back)


def _same_rows(part: Rows, other: Rows) -> bool:
    if part.index is None or other.index is None:
        return part.index is other.index and part.ids == other.ids
    return torch.equal(part.index, other.index)


def _positions(wanted: NDArray[np.int64], among: NDArray[np.int64]) -> Tensor:
    """Return the positions of the wanted numbers in `among`, which contains all of them."""
    order = among.argsort()
    return torch.from_numpy(order[np.searchsorted(among, wanted, sorter=order)])


def _rejoined(joint: Sequence[EnsemblePrediction], order: Tensor) -> EnsemblePrediction:
    """Join predictions of different rows, and reorder them."""
    shares = [one.probabilities for one in joint if one.probabilities is not None]
    return EnsemblePrediction(
        torch.cat([one.predictions for one in joint])[order],
        torch.cat(shares)[order] if shares else None,
        torch.empty(0, len(order)),
        torch.cat([one.disagreement for one in joint])[order],
    )


@dataclass(frozen=True)
class Ensemble:
    """The models of a run folder: its members, or its only model."""

    names: Sequence[str]
    members: Sequence[Predictor]
    values: Mapping[str, Any]  # values of the configuration

    @property
    def spec(self) -> Spec:
        """Kind, classes and header; equal in all members."""
        return self.members[0].spec

    def read(self, path: Path, *, allow_unknown: bool) -> list[Rows]:
        """Read a new file for each member; only once per preprocessing.

        Raises:
            MlrunError: the file does not fit a member.
        """
        source = build("data", self.values)
        read: dict[str, Rows] = {}
        for member in self.members:
            key = json.dumps(member.contract)
            if key not in read:
                read[key] = source.read_file(
                    path, member.contract, member.spec, allow_unknown=allow_unknown
                )
        return [read[json.dumps(member.contract)] for member in self.members]

    def outputs(self, rows: Iterable[Rows]) -> list[Tensor]:
        """Compute the outputs of each member for its rows."""
        return [member.outputs(part) for member, part in zip(self.members, rows, strict=True)]


def is_ensemble(run: RunFolder) -> bool:
    """Whether the run has `seeds` or `folds`."""
    config = run.record.get("config")
    values = config if isinstance(config, dict) else {}
    return bool(values.get("seeds") or values.get("folds"))


def refuse_ensemble(run: RunFolder, verb: str) -> None:
    """Reject an ensemble for a command that needs a single model.

    Raises:
        MlrunError: the run is an ensemble.
    """
    if is_ensemble(run):
        names = ", ".join(one.path.name for one in member_runs(run)[:3])
        raise MlrunError(
            f"{run.path} has several members; choose one: "
            f"mlrun {verb} {run.path / MEMBERS_FOLDER}/NAME ({names} …)"
        )


def member_runs(run: RunFolder) -> list[RunFolder]:
    """Return the run folders of the members; empty for a single run.

    It lists the folder instead of trusting run.json, which may come from a stranger.
    """
    folder = run.path / MEMBERS_FOLDER
    paths = sorted(folder.iterdir(), key=_natural) if folder.is_dir() else []
    return [open_run(path) for path in paths if path.is_dir()]


def _natural(path: Path) -> list[Any]:
    """Sort key that puts seed_2 before seed_10."""
    return [int(part) if part.isdigit() else part for part in path.name.split("_")]


def open_ensemble(run: RunFolder) -> Ensemble:
    """Rebuild the best models of a run, without diverged members, from the folder alone.

    Raises:
        MlrunError: a checkpoint is missing or damaged, or names a class that is not allowed.
    """
    runs = [one for one in member_runs(run) if one.record.get("status") != "diverged"] or [run]
    opened = [open_predictor(one) for one in runs]
    members, values = zip(*opened, strict=True)
    alike = {(m.spec.kind, m.spec.classes, m.spec.target, m.spec.header) for m in members}
    if len(alike) > 1:
        raise MlrunError(
            f"{run.path / MEMBERS_FOLDER} is damaged: its members have different tasks"
        )
    return Ensemble([one.path.name for one in runs], members, values[0])


def scores_of(
    members: Sequence[Predictor], datasets: Sequence[Dataset]
) -> dict[str, dict[str, float]]:
    """Compute the scores of the ensemble on each part of the data.

    Members with the same split are scored on its parts. Members with different splits (folds) have
    no common parts: `out_of_fold` scores every row by the members that did not train on it. All
    members together score the test rows.
    """
    splits: dict[tuple[bytes, ...], list[int]] = {}
    for number, dataset in enumerate(datasets):
        rows = tuple(part.tobytes() for part in dataset.split.values())
        splits.setdefault(rows, []).append(number)

    def together(part: str, numbers: Sequence[int]) -> tuple[Tensor, EnsemblePrediction]:
        rows = [datasets[number].parts[part] for number in numbers]
        chosen = [members[number] for number in numbers]
        outputs = [member.outputs(some) for member, some in zip(chosen, rows, strict=True)]
        assert rows[0].targets is not None
        return rows[0].targets, combined(chosen, outputs)

    found, objective = {}, members[0].objective
    everyone = range(len(members))
    if len(splits) > 1:
        truth, guess = zip(*(together("valid", group) for group in splits.values()), strict=True)
        joined = _rejoined(guess, torch.arange(sum(map(len, truth))))
        found["out_of_fold"] = scores_together(objective, torch.cat(truth), joined)
    for part in datasets[0].parts:
        if len(splits) == 1 or part == "test":
            found[part] = scores_together(objective, *together(part, everyone))
    return found


def scores_together(
    objective: Objective, targets: Tensor, found: EnsemblePrediction
) -> dict[str, float]:
    """Return the scores of a combined prediction, without the loss."""

    def probabilities() -> Tensor:
        assert found.probabilities is not None  # only classifications have metrics that need them
        return found.probabilities

    predictions = found.predictions
    own = objective.own_scores(targets, predictions, probabilities)
    return {**scores(objective.spec, targets, predictions), **own}
