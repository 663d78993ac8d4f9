"""Turn errors of Hydra, OmegaConf and PyYAML into messages for users."""

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import yaml
from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from mlrun.config.options import GROUPS, options, own_conf
from mlrun.config.schema import Schema
from mlrun.config.yaml_loader import read_yaml
from mlrun.errors import MlrunError, did_you_mean

# Hydra's words for +GROUP=OPTION
_ADDED = re.compile(
    r"Multiple values for (?P<group>\w+)\. To override .*: (?P<option>[^']+)'"
    r"|(?P<other>\w+) appears more than once in"
)
# (group, option) → advice, for words of other programs
_ADVICE = {
    ("scheduler", "none"): " scheduler=constant keeps the learning rate.",
    ("scheduler", "null"): " scheduler=constant keeps the learning rate.",
    ("experiment", "none"): " To select none, leave it out, or write experiment=null.",
    ("loss", "none"): " loss=auto follows the kind of task.",
    ("loss", "bce"): " Did you mean 'bce_with_logits'?",
    ("loss", "l1"): " Did you mean 'mae'?",
    ("loss", "l2"): " Did you mean 'mse'?",
    ("loss", "ce"): " Did you mean 'cross_entropy'?",
}


def explain(error: BaseException) -> str:
    """Return a one-line message for an error, without Hydra's advice to add a `+`."""
    chain = list(_causes(error))
    for cause in chain:
        if isinstance(cause, MlrunError):
            return str(cause)
        if isinstance(cause, MissingConfigException) and cause.missing_cfg_file:
            return _no_option(cause)
        if "group override must be a string or a list" in str(cause):
            return "GROUP=OPTION needs the name of an option, e.g. model=mlp; see mlrun ls"
        if isinstance(cause, OverrideParseException):
            wanted = "use KEY=VALUE or GROUP=OPTION (quote special characters: KEY=\\'VALUE\\')"
            return f"cannot read '{cause.override}': {wanted}"
        if isinstance(cause, yaml.YAMLError):
            return _malformed(cause)
        if isinstance(cause, UnicodeDecodeError):
            return f"a file in {own_conf()} is not UTF-8 text: {cause.reason}"
        if again := _ADDED.match(str(cause)):
            group, option = again["group"] or again["other"], again["option"] or "OPTION"
            return f"+{group}=…: '{group}' is always there; leave out the +: {group}={option}"
        if isinstance(cause, RecursionError):
            return "values are nested too deeply, or an option of ./conf selects itself"
    text = str(error)
    unpackaged = "a file in conf/task/ must start with the line: # @package _global_"
    if any("Cannot convert 'DictConfig' to string" in str(cause) for cause in chain):
        return unpackaged
    if several := re.match(r"Ambiguous value for argument '(.+)'", text):
        return f"{several[1]}: several values; add -m to run each, or write a list as [a,b]"
    for cause in chain:
        if isinstance(cause, ConfigKeyError | ConfigAttributeError) and cause.full_key:
            return _no_key(cause)
        if not isinstance(cause, OmegaConfBaseException) or not cause.full_key:
            continue
        if "is not a subclass of" in str(cause):
            return f"{cause.full_key}: set one of its keys, {cause.full_key}.KEY=VALUE"
        return f"{cause.full_key}: {str(cause.msg or cause).splitlines()[0]}"
    if group := re.match(r"You must specify '(\w+)'", text):
        if any("@package" not in _text(file) for file in _own_tasks()):
            return unpackaged
        listed = ", ".join(options(group[1]))
        return f"no option selected for {group[1]}; use {group[1]}=OPTION with one of {listed}"
    if isinstance(error, OSError) and error.filename:
        return f"cannot create {error.filename}: {error.strerror}"
    if isinstance(error, TypeError | AttributeError | AssertionError):  # an internal error of Hydra
        return "cannot build a configuration from these arguments; use GROUP=OPTION and KEY=VALUE"
    return _without_advice(text)


def _own_tasks() -> list[Path]:
    folder = own_conf()
    return sorted((folder / "task").glob("*.yaml")) if folder else []


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Follow the chain once: under a debugger OmegaConf makes an error its own cause."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__ or error.__context__


def _malformed(error: yaml.YAMLError) -> str:
    """Name the user's file, which Hydra does not report."""
    folder = own_conf()
    for file in sorted(folder.rglob("*.yaml")) if folder else []:
        try:
            read_yaml(file)
        except yaml.YAMLError as found:
            return f"{file} is not well-formed YAML: {' '.join(str(found).split())}"
    return f"malformed YAML: {' '.join(str(error).split())}"


def _no_option(error: MissingConfigException) -> str:
    group, _, option = str(error.missing_cfg_file).rpartition("/")
    known = list(error.options or options(group))
    hint = _ADVICE.get((group, option)) or did_you_mean(option, known)
    if group == "metric" and not hint:
        hint = (
            " The built-in metrics are always computed; your own one needs a file "
            f"conf/metric/{option or 'NAME'}.yaml, see docs/extending.md."
        )
    what = f"no option '{option}' in" if option else f"{group}= names no option of"
    return f"{what} group '{group}'.{hint} Options: {', '.join(known)}"


def _no_key(error: OmegaConfBaseException) -> str:
    parent = error.parent_node
    siblings = [str(key) for key in parent] if isinstance(parent, DictConfig) else []
    if "." not in str(error.full_key):
        siblings = [*GROUPS, *(field.name for field in fields(Schema))]
    known = [key for key in siblings if not key.startswith("_")]
    hint = did_you_mean(str(error.key), known)
    inside = [
        f"{group}.{error.key}"
        for group in ("trainer", "optimizer", "model", "data")
        if isinstance(parent, DictConfig) and error.key in (parent.get(group) or {})
    ]
    if inside and "." not in str(error.full_key):
        return f"unknown key '{error.full_key}'. Did you mean '{inside[0]}'?"
    return f"unknown key '{error.full_key}'.{hint} Valid keys: {', '.join(dict.fromkeys(known))}"


def _without_advice(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip() and "use +" not in line]
    return lines[0] if lines else text
