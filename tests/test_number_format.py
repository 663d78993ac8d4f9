"""Numbers as people and programs write them, against the number that is meant."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlrun.data.number_format import MISSING_WORDS, NumberFormat, detect, format_of, missing_among


def texts(*values: object) -> "np.ndarray[tuple[int], np.dtype[np.object_]]":
    return np.array(values, dtype=object)


@pytest.mark.parametrize(
    ("spelled", "decimal", "wanted"),
    [
        (["1,234", "567"], ".", [1234, 567]),
        (["1,234,567.5", "-2"], ".", [1234567.5, -2]),
        (["$999", "$1,999"], ".", [999, 1999]),
        (["-$5", "$-1,000.50", "5 €", "USD 7"], ".", [-5, -1000.5, 5, 7]),
        (["12,5", "3,75"], ".", [12.5, 3.75]),
        (["0,567", "1,250"], ".", [0.567, 1.25]),
        (["1.234,5", "12,25"], ".", [1234.5, 12.25]),
        (["1.234", "999,5"], ",", [1234, 999.5]),
        (["1.5", "2.25"], ",", [1.5, 2.25]),
        (["1 000", "12 500,5"], ".", [1000, 12500.5]),
        (["1\u00a0000", "5"], ".", [1000, 5]),
        (["1'000", "2"], ".", [1000, 2]),
        (["10%", "5 %"], ".", [10, 5]),
        (["\u22125", "3"], ".", [-5, 3]),
        (["TRUE", "False", "true"], ".", [1, 0, 1]),
        (["1e5", "2E-3", "+3", ".5", "5."], ".", [1e5, 2e-3, 3, 0.5, 5]),
    ],
)
def test_numbers_are_read_as_they_are_meant(spelled, decimal, wanted):
    form, share = detect(texts(*spelled), decimal=decimal)
    assert share == 1
    assert form.parse(texts(*spelled)).tolist() == wanted


def test_a_minus_sign_alone_makes_no_format():
    form, share = detect(texts("\u22125", "3.5"), decimal=".")
    assert (form, share) == (NumberFormat(), 1)


@pytest.mark.parametrize("word", ["1_000", "0x10", "12a", "1,23,4", "1.2.3", "--5", "$", "%", "1e"])
def test_what_is_no_number_in_any_format_is_none(word):
    assert detect(texts(word), decimal=".")[1] == 0


def test_a_percent_without_its_sign_is_not_guessed():
    form, _ = detect(texts("10%", "20%"), decimal=".")
    assert math.isnan(form.parse(texts("0.1"))[0])


@settings(max_examples=60, deadline=None)
@given(st.floats(-1e12, 1e12).map(lambda value: round(value, 2)), st.sampled_from([",.", ".,"]))
def test_what_python_writes_with_separators_comes_back(value, marks):
    thousands, decimal = marks
    spelled = f"{value:,.2f}".translate(str.maketrans(",.", marks))
    form = NumberFormat(decimal, thousands)
    assert form.parse(texts(spelled))[0] == value


def test_a_format_comes_back_from_its_plain_values():
    form = NumberFormat(",", ".", "currency")
    assert format_of(form.as_plain()) == form


def test_words_for_a_missing_value_are_known_in_any_case():
    found = missing_among(texts("N/A", "?", " null ", "", None, np.nan, "0", "nope"), MISSING_WORDS)
    assert found.tolist() == [True] * 6 + [False] * 2
