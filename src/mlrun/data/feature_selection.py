"""Feature selection: keep the most informative features, measured on the training rows."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlrun.data.dataset import CLASSIFICATION, REGRESSION
from mlrun.data.preprocess.module import Contract
from mlrun.errors import MlrunError


def select_top(
    contract: Contract, features: NDArray[np.float32], targets: NDArray[Any], *, top: int, by: str
) -> Contract:
    """Keep the `top` features with the highest scores, and only the columns they need.

    Args:
        contract: the result of `fit_table`.
        features: (n, features), the training rows after preprocessing.
        targets: (n,) values or class numbers of the same rows.
        top: number of features to keep; all, if there are fewer.
        by: f_test | mutual_info | correlation.

    Raises:
        MlrunError: mutual_info has no class with 2 training rows.
    """
    kind = CLASSIFICATION if np.issubdtype(targets.dtype, np.integer) else REGRESSION
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # the score of a constant feature is NaN
        scores = np.nan_to_num(_scores(features, targets, kind, by), nan=-1.0)
    kept = sorted(np.argsort(-scores, kind="stable")[:top])
    return _only(contract, [contract["features"][i] for i in kept])


def _scores(
    features: NDArray[np.float32], targets: NDArray[Any], kind: str, by: str
) -> NDArray[np.float64]:
    if by == "correlation" or (by == "f_test" and kind == REGRESSION):
        # F = r²/(1 - r²) up to a factor, so both give the same ranking.
        centered = features - features.mean(axis=0)
        against = targets - targets.mean()
        norms = np.linalg.norm(centered, axis=0) * np.linalg.norm(against)
        return np.asarray(np.abs(centered.T @ against) / norms)
    from sklearn import feature_selection as select

    if by == "mutual_info":
        score = (
            select.mutual_info_classif if kind == CLASSIFICATION else select.mutual_info_regression
        )
        if kind == CLASSIFICATION and np.bincount(targets).max() < 2:
            raise MlrunError(
                "data.features.by=mutual_info: no class has 2 training rows to compare; use f_test"
            )
        neighbors = max(1, min(3, len(features) - 2))
        return np.asarray(score(features, targets, n_neighbors=neighbors, random_state=0))
    return np.asarray(select.f_classif(features, targets)[0])


def _only(contract: Contract, features: list[dict[str, Any]]) -> Contract:
    used = sorted({feature["column"] for feature in features})
    position_of = {column: position for position, column in enumerate(used)}
    return contract | {
        "columns": [contract["columns"][column] for column in used],
        "features": [f | {"column": position_of[f["column"]]} for f in features],
    }
