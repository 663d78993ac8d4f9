"""What a configuration may build, and that nothing else is even looked up."""

import re
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import pytest
import torch

from mlrun.config.allowlist import ALLOWED, allow_words, allowed_now, allowing, resolve
from mlrun.errors import MlrunError
from mlrun.models.mlp import MLP

ATTACKS = [
    "os.system",
    "builtins.eval",
    "builtins.open",
    "subprocess.Popen",
    "timeit.timeit",
    "logging.os.system",
    "functools.partial",
    "hydra.utils.get_method",
    "joblib.load",
    "pandas.read_pickle",
    "torch.load",
    "torch.nn.modules.module.torch.load",
    "torch.nn.Module.__class__",
    "torch.hub.load",
    "urllib.request.urlretrieve",
    "mlrun.config.allowlist.importlib.import_module",
    "mlrun.models.mlp.MLP.__init__",
    "torch.nn..Linear",
    "../MLP",
    "",
]


@pytest.mark.parametrize("target", ATTACKS)
@pytest.mark.parametrize("group", ALLOWED)
def test_a_target_outside_the_list_is_refused(group, target):
    with pytest.raises(MlrunError, match="refused"):
        resolve(group, {"_target_": target})


def test_an_allowed_class_is_resolved_itself():
    assert resolve("model", {"_target_": "mlrun.models.mlp.MLP"}) is MLP
    assert resolve("optimizer", {"_target_": "torch.optim.RAdam"}) is torch.optim.RAdam


@pytest.mark.parametrize("module", ["mlrun.data.tabular", "mlrun.data.images"])
def test_only_the_readers_of_data_are_classes_of_data(module):
    classes = [name for name, value in vars(import_module(module)).items() if type(value) is type]
    readers = [name for name in classes if is_allowed("data", f"{module}.{name}")]
    assert readers == [name for name in classes if name in ("Tabular", "Images")]


def is_allowed(group: str, target: str) -> bool:
    with suppress(MlrunError):
        return resolve(group, {"_target_": target}) is not None
    return False


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("mlrun.data.tabular.MlrunError", "only mlrun.data.tabular.Tabular or mlrun.data.images"),
        ("hw1.Wide", "refused; it has no method load"),
        ("hw1.Reader", "data: cannot be configured: no signature found"),
    ],
)
def test_what_is_no_class_of_data_is_one_line(mlrun, write_csv, monkeypatch, target, message):
    reader = "class Reader(Exception):\n    load = read_file = print\n"
    write_csv("hw1.py", f"class Wide:\n    pass\n\n\n{reader}")
    monkeypatch.syspath_prepend(str(Path.cwd()))
    sys.modules.pop("hw1", None)
    answer = mlrun(f"data={{_target_:{target}}}", "allow=[hw1.*]")
    assert answer.code == 2
    assert message in answer.err
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize(
    ("group", "target"),
    [
        ("loss", "torch.nn.Linear"),  # a class of the right module and the wrong kind
        ("optimizer", "torch.optim.Optimiser"),
        ("scheduler", "torch.optim.lr_scheduler.Any"),
        ("model", "mlrun.models.mlp.Sequence"),
    ],
)
def test_a_class_of_another_kind_is_refused(group, target):
    with pytest.raises(MlrunError, match=r"no such class|refused"):
        resolve(group, {"_target_": target})


@pytest.mark.parametrize(
    "hidden",
    [
        {"hidden": {"_target_": "os.system", "_args_": ["true"]}},
        {"hidden": [1, [{"_target_": "os.system"}]]},
        {"_args_": ["x"]},
        {"_recursive_": True},
        {"_convert_": "none"},
    ],
)
def test_hydra_keys_inside_a_node_are_refused_at_any_depth(hidden):
    with pytest.raises(MlrunError, match="not allowed inside"):
        resolve("model", {"_target_": "mlrun.models.mlp.MLP", **hidden})


@pytest.mark.parametrize("node", [None, "torch.nn.Linear", {}, {"_target_": 3}, []])
def test_a_node_without_a_class_is_refused(node):
    with pytest.raises(MlrunError, match="nothing to build"):
        resolve("model", node)


def test_a_module_with_digits_is_the_users_own(write_csv, monkeypatch):
    write_csv("hw1.py", "from torch import nn\n\n\nclass Wide2(nn.Module):\n    pass\n")
    sys.modules.pop("hw1", None)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    with pytest.raises(MlrunError, match=re.escape("for your own class: allow=[hw1.Wide2]")):
        resolve("model", {"_target_": "hw1.Wide2"})
    with allowing(["hw1.Wide2"]):
        assert resolve("model", {"_target_": "hw1.Wide2"}).__name__ == "Wide2"
        assert resolve("loss", {"_target_": "hw1.Wide2"}).__name__ == "Wide2"
        with pytest.raises(MlrunError, match=r"subclass of torch\.optim"):
            resolve("optimizer", {"_target_": "hw1.Wide2"})


def test_a_pattern_that_is_allowed_twice_is_named_once():
    with allowing(["nets.*"]), allowing(["nets.*", "losses.Own"]):
        assert allow_words(allowed_now()) == ["allow=[nets.*,losses.Own]"]
