"""A pytest plugin that writes the results of the tests marked `fault` into docs/reliability.md.

`make soak` enables it with --reliability=FILE. Property tests report the number of generated
examples with `record_property("examples", count)`.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

BEGIN, END = "<!-- faults -->", "<!-- /faults -->"


@dataclass
class Tally:
    """The results of the tests for one fault."""

    outcome: str = ""
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    examples: int = 0


tallies: defaultdict[str, Tally] = defaultdict(Tally)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--reliability", metavar="FILE", help="write the table of faults into FILE")


def pytest_runtest_setup(item: pytest.Item) -> None:
    marker = item.get_closest_marker("fault")
    if marker is not None:
        item.user_properties.append(("fault", list(marker.args)))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count a test; xdist calls this in the workers and again in the controller, which counts."""
    properties = dict(report.user_properties)
    if "fault" not in properties or (report.when != "call" and report.passed):
        return
    fault: Any = properties["fault"]
    name, outcome = fault
    tally = tallies[name]
    tally.outcome = outcome
    tally.passed += report.passed
    tally.failed += report.failed
    tally.skipped += report.skipped
    tally.examples += int(str(properties.get("examples", 0)))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    place = config.getoption("--reliability")
    if not place:
        return
    examples = sum(tally.examples for tally in tallies.values())
    tests = sum(tally.passed for tally in tallies.values())
    count = f"{len(tallies)} faults, {tests:,} tests passed, {examples:,} generated examples"
    terminalreporter.write_line(count)
    path = Path(place)
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    table = "\n".join(_table())
    text = f"{before}{BEGIN}\n{table}\n\n{count}.\n{END}{after}"
    path.write_text(text, encoding="utf-8")


def _table() -> Iterator[str]:
    yield "| fault | outcome | tests | result |"
    yield "| --- | --- | --- | --- |"
    for name, tally in sorted(tallies.items()):
        examples = f", {tally.examples:,} examples" if tally.examples else ""
        yield f"| {name} | {tally.outcome} | {tally.passed}{examples} | {_result(tally)} |"


def _result(tally: Tally) -> str:
    if tally.failed:
        return f"**{tally.failed} failed**"
    return "ok" if tally.passed else "skipped"
