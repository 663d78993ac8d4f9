"""Canaries: each name that config/hydra_patches.py takes from Hydra, OmegaConf and PyYAML.

A test that fails after an upgrade names the release and what it changed.
"""

import inspect
from contextlib import suppress
from importlib.metadata import version

import hydra._internal.hydra as hydra_internals
import omegaconf._utils
import pytest
import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf
from omegaconf.basecontainer import BaseContainer
from omegaconf.errors import OmegaConfBaseException

from mlrun.config import hydra_patches
from mlrun.errors import MlrunError


def changed(package: str, what: str) -> str:
    """The message of a failing canary."""
    return f"{package} {version(package)} changed {what}: adapt src/mlrun/config/hydra_patches.py"


def parameters_of(function: object) -> list[str]:
    return [*inspect.signature(function).parameters]  # type: ignore[arg-type]


def test_hydra_has_the_names_that_are_replaced():
    names = ("ConfigLoaderImpl", "Hydra")
    assert all(name in vars(hydra_internals) for name in names), changed(
        "hydra-core", "its modules"
    )
    wanted = ["self", "config_name", "overrides"]
    found = parameters_of(hydra_internals.Hydra.get_mode)
    assert found == wanted, changed("hydra-core", "Hydra.get_mode")
    words = parameters_of(ConfigLoaderImpl.load_configuration)[:4]
    loads = ["self", "config_name", "overrides", "run_mode"]
    assert words == loads, changed("hydra-core", "load_configuration")


def test_everything_is_as_before_after_the_block():
    before = (
        vars(hydra_internals)["ConfigLoaderImpl"],
        hydra_internals.Hydra.get_mode,
        yaml.SafeLoader,
        BaseContainer.merge_with,
        vars(ConfigLoaderImpl)["_apply_overrides_to_config"],
        vars(OmegaConf)["to_yaml"],
    )
    with suppress(ZeroDivisionError), hydra_patches.patched(lambda *_: None, may_set_mode=False):
        assert vars(hydra_internals)["ConfigLoaderImpl"] is not before[0]
        assert hydra_internals.Hydra.get_mode is not before[1]
        raise ZeroDivisionError
    after = (
        vars(hydra_internals)["ConfigLoaderImpl"],
        hydra_internals.Hydra.get_mode,
        yaml.SafeLoader,
        BaseContainer.merge_with,
        vars(ConfigLoaderImpl)["_apply_overrides_to_config"],
        vars(OmegaConf)["to_yaml"],
    )
    assert after == before


def test_hydra_calls_the_loader_that_checks(mlrun):
    answer = mlrun("hydra.job.env_set={PATH: x}")
    assert answer.code == 2
    assert "hydra.job.env_set" in answer.err, changed("hydra-core", "what loads configurations")


def test_hydra_loads_each_file_by_one_function():
    found = parameters_of(ConfigLoaderImpl._load_single_config)
    assert found == ["self", "default", "repo"], changed("hydra-core", "_load_single_config")


def test_hydra_looks_up_its_own_files_last():
    path = create_config_search_path("/a").get_path()
    found = [place.provider for place in path]
    assert (found[1], found[-1]) == ("main", "schema"), changed("hydra-core", "its search path")


def test_resolvers_are_left_out_and_come_back():
    config = OmegaConf.create({"a": "${oc.env:HOME}"})
    with hydra_patches.without_resolvers("oc.env"), pytest.raises(OmegaConfBaseException):
        _ = config.a
    assert config.a, changed("omegaconf", "where its resolvers are")


def test_omegaconf_reads_yaml_by_the_safe_loader(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("a: 1")
    seen = []

    class Watched(yaml.SafeLoader):  # type: ignore[misc]
        def __init__(self, stream: object) -> None:
            seen.append(stream)
            super().__init__(stream)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yaml, "SafeLoader", Watched)
        OmegaConf.load(file)
    assert seen, changed("omegaconf", "the loader of YAML files")


def test_hydra_prints_what_omegaconf_spells_and_a_part_knows_its_name(mlrun):
    words = ("+model.auth={user: bob, tries: 3}", "-p", "model.auth")
    answer = mlrun("--cfg", "job", *words)
    wanted = "# @package model.auth\nuser: (not recorded)\ntries: 3\n"
    assert answer.out == wanted, changed("omegaconf", "to_yaml or _get_full_key")


def test_the_flags_of_hydras_command_line_are_known():
    flags = hydra_patches.known_flags()
    wanted = {"--multirun", "-m", "--cfg", "--info"}
    assert wanted <= {*flags}, changed("hydra-core", "its parser of arguments")


def test_overrides_are_applied_as_hydra_does():
    config = OmegaConf.create({"a": 1, "b": {"c": 2}})
    OmegaConf.set_struct(config, True)
    parsed = OverridesParser.create().parse_overrides(["b.c=3"])
    hydra_patches.apply_overrides(parsed, config)
    assert config == {"a": 1, "b": {"c": 3}}, changed("hydra-core", "_apply_overrides_to_config")


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("b=[1,2]", {"b": [1, 2], "d": [3]}),
        ("d={e:4}", {"b": {"c": 2}, "d": {"e": 4}}),
        ("b=7", {"b": 7, "d": [3]}),
        ("b={c:5}", {"b": {"c": 5}, "d": [3]}),
    ],
)
def test_a_list_replaces_a_mapping_and_the_other_way_round(word, wanted):
    config = OmegaConf.create({"b": {"c": 2}, "d": [3]})
    OmegaConf.set_struct(config, True)
    hydra_patches.apply_overrides(OverridesParser.create().parse_overrides([word]), config)
    assert config == wanted, changed("omegaconf", "how nodes are set")
    assert OmegaConf.is_struct(config)


@pytest.mark.slow
def test_a_file_may_replace_a_mapping_by_a_list(mlrun, write_csv):
    text = "# @package _global_\ndefaults:\n  - override /task: covid\n"
    write_csv("conf/experiment/some.yaml", f"{text}data: {{features: [tested_positive.3]}}\n")
    answer = mlrun("experiment=some", "debug=smoke", "quiet=true")
    assert answer.code == 0, changed("omegaconf", "BaseContainer.merge_with")
    assert "features:\n  - tested_positive.3\n" in mlrun("--cfg", "job", "experiment=some").out


def test_the_folder_name_of_overrides_is_hydras():
    parsed = OverridesParser.create().parse_overrides(["b=2", "a=1"])
    settings = {"kv_sep": ":", "item_sep": "+", "exclude_keys": ["b"]}
    name = hydra_patches.overrides_dirname(parsed, settings)
    assert name == "a:1", changed("hydra-core", "get_overrides_dirname")


def test_what_a_failed_job_returned_is_its_error():
    error = MlrunError("failed")
    job = JobReturn(status=JobStatus.FAILED)
    job.return_value = error
    assert hydra_patches.returned(job) is error, changed("hydra-core", "JobReturn")


@pytest.mark.parametrize(
    "value",
    [
        {"a": "1e3", "b": "true", "c": "null"},
        {"a": [1, 2.5, None, True]},
        {"a": "${b}", "b": "x y"},
    ],
)
def test_yaml_is_written_as_omegaconf_writes_it(value):
    config: DictConfig = OmegaConf.create(value)
    assert hydra_patches.to_yaml(value) == OmegaConf.to_yaml(config), changed(
        "omegaconf", "OmegaConfDumper"
    )
    assert hasattr(omegaconf._utils, "OmegaConfDumper"), changed("omegaconf", "OmegaConfDumper")
