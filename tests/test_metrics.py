"""Scores against their formulas."""

import math

import pytest
import torch

from mlrun.data.dataset import Spec
from mlrun.errors import MlrunError
from mlrun.training.metrics import check_scores, class_accuracy, higher_is_better, scores, shown

REGRESSION = Spec("regression", (2,), 1)
CLASSES = Spec("classification", (2,), 3, classes=("a", "b", "c"))


def test_regression_scores_are_their_formulas():
    truth, guess = torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([[1.0], [3.0], [2.0]])
    found = scores(REGRESSION, truth, guess)
    assert found["mse"] == pytest.approx(5 / 3)
    assert found["rmse"] == pytest.approx(math.sqrt(5 / 3))
    assert found["mae"] == pytest.approx(1.0)
    assert found["r2"] == pytest.approx(1 - 5 / (14 / 3))


def test_r2_of_one_row_is_not_a_number():
    assert math.isnan(scores(REGRESSION, torch.ones(1, 1), torch.ones(1, 1))["r2"])


def test_predictions_beyond_all_numbers_have_no_scores():
    spec = Spec("regression", (1,), 1)
    values = scores(spec, torch.ones(2, 1), torch.tensor([[1.0], [math.inf]]))
    assert all(map(math.isnan, values.values()))


def test_classification_scores_are_their_formulas():
    truth, guess = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 1])
    found = scores(CLASSES, truth, guess)
    assert found["accuracy"] == 0.75
    assert found["macro_f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)


def test_accuracy_by_class_leaves_out_classes_without_rows():
    found = class_accuracy(CLASSES, torch.tensor([0, 0, 2]), torch.tensor([0, 1, 2]))
    assert found == {"a": 0.5, "c": 1.0}


@pytest.mark.parametrize(
    ("monitor", "mode", "rises"),
    [
        ("valid/accuracy", "auto", True),
        ("valid/r2", "auto", True),
        ("valid/mse", "auto", False),
        ("valid/loss", "auto", False),
        ("valid/accuracy", "min", False),
        ("valid/mse", "max", True),
    ],
)
def test_the_direction_is_known_by_the_metric_unless_given(monitor, mode, rises):
    assert higher_is_better(monitor, mode) is rises


def test_monitoring_what_the_task_does_not_score_lists_what_it_does():
    with pytest.raises(MlrunError, match=r"valid/accuracy.*Did you mean 'valid/accuracy'\?"):
        check_scores("trainer.monitor", ["valid/acuracy"], CLASSES)
    with pytest.raises(MlrunError, match="a regression task has valid/loss, valid/mse"):
        check_scores("trainer.monitor", ["valid/accuracy"], REGRESSION)


def test_scores_are_shown_on_one_line():
    assert shown({"loss": 0.5, "mse": 12345.678}) == "loss 0.5000  mse 12345.7"
