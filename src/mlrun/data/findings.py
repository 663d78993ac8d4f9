"""What was decided about a file and its columns: recorded in run.json, and printed as one table."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

from mlrun.system.plain_text import one_line

log = logging.getLogger(__name__)

MOST_ROWS = 24  # of a printed table; run.json has all
WIDEST = 60  # of the second column, in characters; longer ones are not padded
HEADER = ("taken as", "to overrule it")


@dataclass(frozen=True)
class Finding:
    """A decision that is not the plain case."""

    what: str  # separator, header, id … or the name of a column
    value: str
    override: str = ""  # the setting that decides otherwise; empty: there is none

    @property
    def text(self) -> str:
        """The decision in words."""
        return f"{self.what}: {self.value}" + (f" ({self.override})" if self.override else "")


@dataclass
class Findings:
    """The decisions about a file, in the order in which they were made.

    As a context, it prints them at its end, also if an error ends it: they may explain the error.
    """

    file: str  # its name
    found: list[Finding] = field(default_factory=list)

    def add(self, what: str, value: str, override: str = "") -> None:
        """Note a decision."""
        self.found.append(Finding(what, value, override))

    def extend(self, found: Iterable[Finding]) -> None:
        """Note several decisions."""
        self.found.extend(found)

    def __enter__(self) -> "Findings":
        return self

    def __exit__(self, *_: object) -> None:
        if self.found:
            log.info("%s", self.table())

    def table(self) -> str:
        """Return a text with three aligned columns: what, taken as what, and how to overrule it."""
        shown, more = self.found[:MOST_ROWS], len(self.found) - MOST_ROWS
        found = ((one.what, one.value, one.override) for one in shown)
        rows = [tuple(map(one_line, row)) for row in ((self.file, *HEADER), *found)]
        first, second = (
            max((len(row[i]) for row in rows if len(row[i]) <= WIDEST), default=0) for i in (0, 1)
        )
        lines = [f"{a:{first}}  {b:{second}}  {c}".rstrip() for a, b, c in rows]
        return "\n".join([*lines, *([f"… and {more} more (run.json)"] if more > 0 else [])])
