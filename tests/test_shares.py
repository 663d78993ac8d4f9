"""The parts in which CI runs the slow tests."""

import argparse

import pytest

from tests.shares import Share, share

NAMES = [f"tests/test_x.py::test_{number}" for number in range(300)]


def test_every_test_is_in_one_share_and_shares_are_about_equal():
    parts = [[name for name in NAMES if Share(number, 3).holds(name)] for number in (1, 2, 3)]
    assert sorted(name for part in parts for name in part) == sorted(NAMES)
    assert min(map(len, parts)) > 80


@pytest.mark.parametrize("text", ["0/3", "4/3", "2", "a/b", "-1/3", "1/0"])
def test_a_share_that_does_not_exist_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="K/N"):
        share(text)
