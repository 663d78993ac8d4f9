"""docs/data.md: its example prints what the page shows, and it names every setting and word."""

import re
from pathlib import Path

import pytest
import yaml

from mlrun.data.number_format import MISSING_WORDS

TOP = Path(__file__).resolve().parents[1]
PAGE = (TOP / "docs" / "data.md").read_text(encoding="utf-8")
FILE, PRINTED = re.findall(r"^```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
KEYS = {*yaml.safe_load((TOP / "conf" / "data" / "csv.yaml").read_text("utf-8"))}
ELSEWHERE = {  # described in configuration.md
    *("_target_", "dir", "prediction", "scale", "scale_target", "memory_budget", "sample"),
}


def test_the_example_prints_what_the_page_shows(mlrun, workdir):
    Path("homes.csv").write_text(FILE, encoding="utf-8")
    words = re.search(r"`mlrun (task=csv data\.train=homes\.csv .*?)`", PAGE)
    assert words is not None
    answer = mlrun(*words[1].split(), "trainer.epochs=1")
    assert answer.code == 0, answer.err
    assert PRINTED in answer.out + answer.err


def test_every_setting_on_the_page_exists_and_no_setting_is_forgotten():
    named = {*re.findall(r"\bdata\.(\w+)", PAGE)} - {"md"}
    assert named - KEYS == set()
    assert KEYS - named == ELSEWHERE


@pytest.mark.parametrize("word", MISSING_WORDS)
def test_every_word_for_a_missing_value_is_listed(word):
    row = next(line for line in PAGE.splitlines() if line.startswith("| missing values among num"))
    assert f"`{word}`" in row
