"""Random words and values of a configuration: composed as they say, or refused in one line.

Nothing is trained here; see `test_fuzz_runs.py`.
"""

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import strategies as st

from mlrun.config.allowlist import ALLOWED, check_targets
from mlrun.config.build import plain
from mlrun.config.column_words import with_quoted_names
from mlrun.config.compose import explained
from mlrun.config.recorded import for_the_record
from mlrun.config.schema import settings_of
from mlrun.config.values import Composed, composed
from mlrun.config.words import hide_in_words, words_of
from tests import faults
from tests.fuzzing import Share, command, refused, shares
from tests.mutations import any_leaf
from tests.test_fuzz_runs import keys, overrides, stray
from tests.test_tabular import composed as base

# --- words of values, and back ---

scalar = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False)
# Hydra knows no line breaks, and reads ${…} as a reference.
character = st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"))
special = st.sampled_from("'\"\\,=:[]{}()$ #%~+-éß日0")
text = st.text(character | special, max_size=8).filter(lambda word: "${" not in word)
name = st.text("abcxyz_", min_size=1, max_size=5)
nested = st.recursive(
    scalar | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(name, inner, min_size=1),
    max_leaves=5,
)


def read_back(word: str) -> Any:
    """The value that Hydra reads in a word."""
    return OverridesParser.create().parse_override(word).value()


def as_plain(value: Any) -> Any:
    """What Hydra has read, as values of Python: texts in quotes have a class of their own."""
    if isinstance(value, dict):
        return {str(key): as_plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [as_plain(entry) for entry in value]
    return getattr(value, "text", value)


@faults.random_overrides
@shares(fast=20, soak=5000)
def test_any_value_is_a_word_that_hydra_reads_back(share: Share, record_property: Any) -> None:
    def check(value: Any) -> None:
        [word] = words_of([], {"model": {"a": [value]}})
        assert as_plain(read_back(word)) == [value], word
        assert hide_in_words([word]) == [word]

    record_property("examples", share.of(nested, check))


@faults.random_overrides
@shares(fast=20, soak=5000)
def test_any_column_name_is_read_as_typed(share: Share, record_property: Any) -> None:
    def check(typed: str) -> None:
        [word] = with_quoted_names([f"data.target={typed}"], sweep=False)
        assert as_plain(read_back(word)) == typed, word
        assert with_quoted_names([word], sweep=False) == [word]

    # Quotes, lists, mappings, calls and commas have a meaning; so have the words of Hydra.
    plain_character = st.characters(
        exclude_categories=("Cs", "Cc", "Zl", "Zp"), exclude_characters="'\"\\,[]{}()$:=#"
    )
    words = ("null", "true", "false", "none", "yes", "???", "inf", "nan", "")
    column = st.text(plain_character, max_size=8).filter(
        lambda typed: typed == typed.strip() and typed.lower() not in words
    )
    record_property("examples", share.of(column, check))


# --- command lines ---

SURE = (
    *(("seed", "7", 7), ("trainer.epochs", "3", 3), ("trainer.l1", "0.25", 0.25)),
    *(("data.target", "x y", "x y"), ("trainer.patience", "null", None), ("quiet", "true", True)),
)


@faults.random_overrides
@shares(fast=2, soak=1500, parts=2)
def test_any_command_line_is_composed_or_refused(share: Share, record_property: Any) -> None:
    def check(example: tuple[list[str], tuple[str, str, Any], list[str]]) -> None:
        words, (key, value, meant), flags = example
        resolved = ["--resolve"] if "--resolve" in flags else []
        ended = command("task=csv", *words, f"{key}={value}", "--cfg", "job", *resolved)
        assert not [*Path().iterdir()]
        if ended.code == 0 and not {"-m", "--cfg=job"} & {*words}:
            found = yaml.safe_load(ended.out)
            for part in key.split("."):
                found = found[part]
            assert found == meant

    words = st.one_of(overrides, st.tuples(overrides, stray).map(lambda pair: [*pair[0], pair[1]]))
    strategy = st.tuples(words, st.sampled_from(SURE), st.sampled_from(([], ["--resolve"])))
    record_property("examples", share.of(strategy, check))


# --- values ---


@pytest.fixture(scope="module")
def whole() -> Composed:
    return composed(base("csv"))


def same(one: Any, other: Any) -> bool:
    """Equal, and of one type; NaN is NaN."""
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return type(one) is type(other) and bool(one == other)


@faults.random_overrides
@shares(fast=10, soak=3000)
def test_any_values_are_a_configuration_or_refused(
    share: Share, record_property: Any, whole: Composed
) -> None:
    def check(changes: dict[str, Any]) -> None:
        def use() -> None:
            with explained():  # as Hydra's errors are
                config = whole.changed(changes)
            settings = settings_of(config.values)
            check_targets({group: plain(config.values.get(group)) for group in ALLOWED})
            assert for_the_record(config)
            if "seed" in changes:
                assert same(settings.seed, int(changes["seed"]))

        refused(use)

    places = st.sampled_from(keys())
    record_property(
        "examples", share.of(st.dictionaries(places, any_leaf, min_size=1, max_size=2), check)
    )
