"""A pytest plugin: `--share=2/3` runs the second third of the tests that were selected.

A test is in the same share each time, whatever other tests there are, so that the shares of several
days are together all of them.
"""

import argparse
import zlib
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Share:
    """One of several parts, counted from 1."""

    number: int
    parts: int

    def holds(self, name: str) -> bool:
        """Whether a test of this name belongs to it."""
        return zlib.crc32(name.encode()) % self.parts == self.number - 1


def share(text: str) -> Share:
    """Read `2/3`."""
    number, _, parts = text.partition("/")
    if not (number.isdecimal() and parts.isdecimal() and 1 <= int(number) <= int(parts)):
        raise argparse.ArgumentTypeError(f"{text}: K/N is wanted, such as 2/3")
    return Share(int(number), int(parts))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--share", metavar="K/N", type=share, help="run the K-th of N parts")


@pytest.hookimpl(trylast=True)  # after -m and -k
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen = config.getoption("--share")
    if chosen is not None:
        config.hook.pytest_deselected(items=[i for i in items if not chosen.holds(i.nodeid)])
        items[:] = [item for item in items if chosen.holds(item.nodeid)]


def pytest_report_header(config: pytest.Config) -> str | None:
    chosen = config.getoption("--share")
    return None if chosen is None else f"share {chosen.number} of {chosen.parts}"
