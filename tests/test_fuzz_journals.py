"""Random and damaged journals: what is read is what was written, or one error line.

The model of a journal is independent of the code: whole lines, each a JSON object, merged by job.
"""

import contextlib
import io
import json
from collections.abc import Mapping
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from mlrun.sweeps.folder import SweepFolder
from mlrun.sweeps.journal import DONE, STATES, Entry, Journal
from mlrun.sweeps.summary import Setting, by_setting, kind_of, ranked
from mlrun.sweeps.table import show_end
from mlrun.system.files import blamed_on
from tests import faults
from tests.fuzzing import Share, refusal, refused, shares
from tests.mutations import Change, edited, edits, json_changes, with_changes

FIELDS = [one.name for one in fields(Entry)]

# --- journals as mlrun writes them ---

number = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53) + 1, 2**53 - 1)
count = st.integers(0, 10**6)
text = st.text(max_size=8)
CONFIG = {
    "seed": 1,
    "task": "csv",
    "trainer": {"monitor": "valid/loss", "mode": "min"},
    "data": {"target": None},
}
config = st.builds(
    lambda seed, task, monitor: (
        CONFIG | {"seed": seed, "task": task, "trainer": {"monitor": monitor, "mode": "auto"}}
    ),
    st.integers(-5, 5),
    st.sampled_from(("csv", "mnist")),
    st.sampled_from(("valid/loss", "valid/mse", "valid/accuracy")),
)
numbers = st.dictionaries(st.sampled_from(("valid/mse", "seconds")), number | st.none())
words = st.sampled_from(("seed=1", "a=1", "a=2", "a=1.23456789012", "b=1"))
rest = st.fixed_dictionaries(
    {"status": st.sampled_from((*STATES, DONE, DONE))},
    optional={
        "overrides": st.lists(words | text, max_size=3),
        "places": st.dictionaries(text, text, max_size=2),
        "score": number | st.none(),
        "best_epoch": count | st.none(),
        "epochs": count | st.none(),
        "objectives": numbers | st.none(),
        "error": text,
    },
)
job_of_event = st.tuples(st.integers(0, 4), rest, st.one_of(config, config, st.none())).map(
    lambda drawn: (
        {"job": drawn[0], "folder": f"{drawn[0]}"}
        | drawn[1]
        | ({} if drawn[2] is None else {"config": drawn[2]})
    )
)
events = st.lists(job_of_event, min_size=1, max_size=6)


def model(lines: list[bytes]) -> dict[int, dict[str, Any]]:
    """The merged events of whole lines; a line that is none raises ValueError or RecursionError."""
    found: dict[int, dict[str, Any]] = {}
    for line in lines:
        event = json.loads(line.decode())
        found.setdefault(event["job"], {}).update({"error": ""} | event)
    return {job: found[job] for job in sorted(found)}


def whole_lines(content: bytes) -> list[bytes]:
    return content.split(b"\n")[:-1]


def check_entry(entry: Entry, values: Mapping[str, Any]) -> None:
    """The entry has exactly what the lines say."""
    known = {"overrides": []} | {name: values[name] for name in FIELDS if name in values}
    for name, value in known.items():
        read = getattr(entry, name)
        assert (list(read) if name == "overrides" else read) == value, (name, read, value)
    assert entry.status in STATES


def summarize(entries: Mapping[int, Entry]) -> list[Setting]:
    """What the end of a sweep computes from a journal, and prints."""
    with blamed_on(Path("journal.jsonl")):
        best = ranked(by_setting([*entries.values()], ["a"]))
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        show_end(SweepFolder(Path(), {"swept": ["a"]}), best, quiet=False)
    return best


def check_summary(entries: Mapping[int, Entry]) -> None:
    """Every finished job is ranked in one place, at the place of its setting's mean."""
    best = summarize(entries)
    for one, other in pairwise(best):
        if kind_of(one) == kind_of(other):
            assert (one.mean >= other.mean) if one.higher else (one.mean <= other.mean)
    scored = {n for n, entry in entries.items() if entry.status == DONE and entry.score is not None}
    assert scored <= {job.job for setting in best for job in setting.jobs}


@faults.random_journal
@shares(fast=15, soak=5000, parts=2)
def test_any_journal_is_read_as_it_was_written_also_in_pieces(
    share: Share, record_property: Any
) -> None:
    def check(example: tuple[list[dict[str, Any]], float]) -> None:
        written, cut = example
        path = Path("journal.jsonl")
        path.unlink(missing_ok=True)
        for event in written:
            Journal(Path()).add(event)
        content = path.read_bytes()
        entries = Journal(Path()).read()
        merged = model(whole_lines(content))
        assert [*entries] == [*merged] == sorted({event["job"] for event in written})
        for job, entry in entries.items():
            check_entry(entry, merged[job])
        path.write_bytes(content[: int(cut * len(content))])
        growing = Journal(Path())
        growing.read()
        path.write_bytes(content)
        assert growing.read() == entries
        if all(entry.config for entry in entries.values()):
            check_summary(entries)

    strategy = st.tuples(events, st.floats(0, 1))
    record_property("examples", share.of(strategy, check))


# --- journals as nobody writes them ---

Damage = tuple[int, list[Change]]
line_changes = st.tuples(st.integers(0, 9), json_changes)


def with_line_changes(content: bytes, these: list[Damage]) -> bytes:
    lines = whole_lines(content)
    for at, changes in these:
        number = at % len(lines)
        lines[number] = with_changes(lines[number].decode(), changes).encode()
    return b"".join(line + b"\n" for line in lines)


def check_damaged(content: bytes) -> None:
    """Read it: as the model does, or with a message that names the file."""
    path = Path("journal.jsonl")
    path.write_bytes(content)
    found: list[dict[int, Entry]] = []
    if told := refusal(lambda: found.append(Journal(Path()).read())):
        assert told.startswith("journal.jsonl")
        return
    [entries] = found
    merged = model(whole_lines(content))
    assert [*entries] == [*merged]
    for job, entry in entries.items():
        check_entry(entry, merged[job])
    refused(lambda: summarize(entries))
    Journal(Path()).add({"job": 7, "folder": "7", "status": "queued"})
    added = path.read_bytes()
    assert added.startswith(content[: content.rfind(b"\n") + 1])
    assert Journal(Path()).read()[7].status == "queued"


@faults.random_journal
@shares(fast=25, soak=14000, parts=2)
def test_any_damaged_journal_is_read_as_it_stands_or_refused(
    share: Share, record_property: Any
) -> None:
    def check(example: tuple[list[dict[str, Any]], list[Damage] | None, list[Any]]) -> None:
        written, damages, more = example
        content = b"".join(json.dumps(event).encode() + b"\n" for event in written)
        content = with_line_changes(content, damages) if damages else content
        check_damaged(edited(content, more))

    strategy: st.SearchStrategy[Any] = st.one_of(
        st.tuples(events, st.lists(line_changes, min_size=1, max_size=2), st.just([])),
        st.tuples(events, st.none(), edits),
    )
    record_property("examples", share.of(strategy, check))
