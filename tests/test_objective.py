"""Losses, the targets they take and the predictions that come out."""

import json
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.loss import _Loss

from mlrun.config.allowlist import allowing
from mlrun.data.dataset import Spec
from mlrun.errors import MlrunError
from mlrun.training.objective import Objective, build_objective, penalty

REGRESSION = Spec("regression", (2,), 1, target="y", target_center=10.0, target_scale=4.0)
TWO = Spec("classification", (2,), 2, classes=("no", "yes"), target="y")
FOUR = Spec("classification", (2,), 4, classes=("a", "b", "c", "d"), target="y")


def test_regression_is_trained_on_standardised_targets_and_predicts_in_their_unit():
    objective = Objective(nn.MSELoss(), REGRESSION)
    targets = torch.tensor([[10.0], [14.0]])
    assert objective.encode(targets).tolist() == [[0.0], [1.0]]
    assert torch.equal(objective.decode(objective.encode(targets)), targets)


def test_bce_takes_one_logit_for_two_classes():
    objective = Objective(nn.BCEWithLogitsLoss(), TWO)
    assert objective.out_features == 1
    assert objective.encode(torch.tensor([0, 1])).tolist() == [[0.0], [1.0]]
    assert objective.decode(torch.tensor([[-0.1], [0.1]])).tolist() == [0, 1]


def test_bce_is_one_against_the_rest_for_more_classes():
    objective = Objective(nn.BCEWithLogitsLoss(), FOUR)
    assert objective.out_features == 4
    assert objective.encode(torch.tensor([2])).tolist() == [[0.0, 0.0, 1.0, 0.0]]
    assert objective.decode(torch.tensor([[0.0, 3.0, 1.0, 2.0]])).tolist() == [1]


def test_nll_gets_a_log_softmax_output_and_equals_cross_entropy():
    model = nn.Linear(2, 4)
    inputs, targets = torch.randn(5, 2), torch.tensor([0, 1, 2, 3, 0])
    nll = Objective(nn.NLLLoss(), FOUR)
    loss = nll.loss(nll.complete(model)(inputs), targets)
    assert torch.allclose(loss, nn.CrossEntropyLoss()(model(inputs), targets))


@pytest.mark.parametrize(
    ("loss", "spec", "logits", "wanted"),
    [
        (nn.CrossEntropyLoss(), FOUR, [[0.0, 0.0, 0.0, 0.0]], [[0.25, 0.25, 0.25, 0.25]]),
        (nn.NLLLoss(), TWO, [[math.log(0.9), math.log(0.1)]], [[0.9, 0.1]]),
        (nn.BCEWithLogitsLoss(), TWO, [[0.0], [math.log(3)]], [[0.5, 0.5], [0.25, 0.75]]),
        (nn.BCEWithLogitsLoss(), FOUR, [[0.0, 0.0, -99.0, -99.0]], [[0.5, 0.5, 0.0, 0.0]]),
    ],
)
def test_outputs_read_as_probabilities(loss, spec, logits, wanted):
    found = Objective(loss, spec).probabilities(torch.tensor(logits))
    assert torch.allclose(found, torch.tensor(wanted, dtype=torch.float64), atol=1e-7)


def test_other_losses_leave_the_model_as_it_is():
    model = nn.Linear(2, 4)
    assert Objective(nn.CrossEntropyLoss(), FOUR).complete(model) is model


@pytest.mark.parametrize(
    ("target", "spec", "advice"),
    [
        ("torch.nn.CrossEntropyLoss", REGRESSION, "loss=mse"),
        ("torch.nn.MSELoss", FOUR, "loss=cross_entropy"),
        ("torch.nn.CTCLoss", FOUR, "loss=cross_entropy"),
    ],
)
def test_a_loss_for_the_other_kind_of_task_is_refused_with_advice(target, spec, advice):
    with pytest.raises(MlrunError, match=advice):
        build_objective({"loss": {"_target_": target}}, spec)


class Own(_Loss):
    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets).square().mean()


class OwnCrossEntropy(nn.CrossEntropyLoss):
    pass


def test_an_own_loss_fits_either_kind_of_task_unless_its_parent_fits_one():
    with allowing(["tests.test_objective.*"]):
        for spec in (REGRESSION, FOUR):
            node = {"_target_": "tests.test_objective.Own"}
            assert isinstance(build_objective({"loss": node}, spec).loss, Own)
        node = {"_target_": "tests.test_objective.OwnCrossEntropy"}
        assert isinstance(build_objective({"loss": node}, FOUR).loss, OwnCrossEntropy)
        with pytest.raises(MlrunError, match="OwnCrossEntropy does not fit a regression task"):
            build_objective({"loss": node}, REGRESSION)


def test_a_loss_that_does_not_average_is_refused():
    node = {"_target_": "torch.nn.MSELoss", "reduction": "sum"}
    with pytest.raises(MlrunError, match="must be mean"):
        build_objective({"loss": node}, REGRESSION)


@pytest.mark.parametrize(("spec", "loss"), [(REGRESSION, nn.MSELoss), (FOUR, nn.CrossEntropyLoss)])
def test_loss_auto_follows_the_kind_of_the_data(spec, loss):
    node = {
        "regression": {"_target_": "torch.nn.MSELoss"},
        "classification": {"_target_": "torch.nn.CrossEntropyLoss"},
    }
    assert isinstance(build_objective({"loss": node}, spec).loss, loss)


def test_the_penalty_spares_biases_and_norms():
    linear = nn.Linear(2, 2)
    nn.init.constant_(linear.weight, -2.0)
    nn.init.constant_(linear.bias, 100.0)
    model = nn.Sequential(linear, nn.BatchNorm1d(2))
    assert penalty(model, l1=1.0, l2=0.0).item() == 8.0
    assert penalty(model, l1=0.0, l2=0.5).item() == 8.0


OWN_LOSSES = """
from torch import nn


class Squares(nn.Module):
    def forward(self, outputs, targets):
        return (outputs - targets).square().mean()


class Each(nn.Module):
    def forward(self, outputs, targets):
        return (outputs - targets).square()


class Numb(nn.Module):
    def forward(self, outputs, targets):
        return (outputs - targets).square().mean().detach()
"""


@pytest.mark.slow
def test_an_own_loss_is_any_module(mlrun, write_csv):
    write_csv("hw2.py", OWN_LOSSES)
    for name in ("Squares", "Each", "Numb"):
        write_csv(f"conf/loss/{name.lower()}.yaml", f"# own\n_target_: hw2.{name}\n")
    small = ("task=covid", "trainer.epochs=2", "quiet=true", "allow=[hw2.*]")
    run, lone = (mlrun(loss, *small).run for loss in ("loss=squares", "loss=mse"))
    own, builtin = (json.loads((one / "run.json").read_text())["metrics"] for one in (run, lone))
    assert own["valid"]["loss"] == pytest.approx(builtin["valid"]["loss"], rel=1e-3)
    assert mlrun("evaluate", str(run), "allow=[hw2.Squares]").code == 0
    assert "must return one number, the mean over the rows" in mlrun("loss=each", *small).err
    assert "returns a number without a gradient" in mlrun("loss=numb", *small).err
