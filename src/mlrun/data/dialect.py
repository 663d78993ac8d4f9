"""How a text file spells a table: encoding, separators, header and where the data start."""

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mlrun.data.cell_kinds import example_of_doubt
from mlrun.data.cells import AUTO, NONE, FileSettings, counted
from mlrun.data.delimiter import LOOKED_AT, Delimiter, Record, choose_delimiter, split
from mlrun.data.encoding import detect_encoding, encoding_finding
from mlrun.data.findings import Finding
from mlrun.data.layout import Layout, find_layout
from mlrun.errors import MlrunError

SAMPLE = 2**20  # bytes at the start of a file that decide
MOST_LINES, MOST_CHARACTERS = 1000, 60_000  # of the sample that are looked at
FEWEST_LINES = 50
COMMENTS = ("#", "%", "//", ";")
RULE = re.compile(r"[|+\s]*[-=_]{3}[-+=_|\s]*")  # a line above a table
SIGNS = {"\t": "tab", " ": "blanks"}
LINES = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")


@dataclass(frozen=True)
class Dialect:
    """How to read a text file; `findings` lists what is not the plain case."""

    encoding: str
    separator: str  # " " stands for runs of blanks
    decimal: str  # "." or ","
    names: tuple[str, ...]  # of the columns as in the header; possibly empty or repeated
    width: int  # usual number of fields per row; those beyond the names are empty
    lines: int  # above the first row of data
    has_header: bool
    kinds: tuple[str, ...]  # what the first cells of each column are: number, date, text, missing
    comments: tuple[str, ...] = ()  # starts of lines that are no rows if they have one field
    comments_always: bool = False  # whatever the number of their fields
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class _Top:
    """The lines above the table that need no separator to be recognised."""

    lines: int
    separator: str | None = None  # of Excel's line sep=;
    comments: int = 0
    commented: str | None = None  # the last comment, which may be the header
    findings: tuple[Finding, ...] = ()


def detect(
    sample: bytes, settings: FileSettings, *, path: Path = Path("table"), whole: bool = True
) -> Dialect:
    """Return how to read a file.

    Args:
        sample: the start of the file.
        settings: decide where they are not "auto".
        path: the file, for messages.
        whole: whether the sample is the whole file.

    Raises:
        MlrunError: the encoding cannot be determined, or the file is empty.
    """
    encoding = settings.encoding if settings.encoding != AUTO else detect_encoding(sample)
    if encoding is None:
        raise not_text(path, "utf-8", _odd_line(sample))
    lines = _lines(sample, encoding, whole)
    top = _top(lines, settings)
    if top.separator is not None and settings.separator == AUTO:
        settings = replace(settings, separator=top.separator)
    found = choose_delimiter(lines[top.lines :], settings, start=top.lines)
    if not found.records:
        raise MlrunError(f"{path} is empty")
    if len(found.records) > 1 and not whole:  # the last one may be cut
        found = replace(found, records=found.records[:-1])
    layout = find_layout(found, settings, commented=_commented(top, found), skipped=top.lines)
    decided = [_encoding_found(settings, encoding), *_line_ends(lines), *top.findings]
    decided += [*_comments_found(top, layout), *_separators_found(found, settings)]
    findings = tuple(finding for finding in (*decided, *layout.findings) if finding is not None)
    return _dialect(encoding, found, layout, settings, findings)


def _dialect(
    encoding: str,
    found: Delimiter,
    layout: Layout,
    settings: FileSettings,
    findings: tuple[Finding, ...],
) -> Dialect:
    chosen = settings.comment not in (AUTO, NONE)
    comments = (settings.comment,) if chosen else () if settings.comment == NONE else COMMENTS
    return Dialect(
        encoding=encoding,
        separator=found.separator,
        decimal=found.decimal,
        names=layout.names,
        width=layout.width,
        lines=layout.lines,
        has_header=layout.has_header,
        kinds=layout.kinds,
        comments=tuple(prefix for prefix in comments if prefix != found.separator),
        comments_always=chosen,
        findings=findings,
    )


# --- lines ----------------------------------------------------------------------------------


def not_text(path: Path, encoding: str, line: int) -> MlrunError:
    """Return the error for bytes that are not text of the encoding."""
    plain = encoding.lower() in ("utf-8", "utf-8-sig")
    examples = "for example cp1252, gbk or shift_jis; or save it as CSV UTF-8"
    return MlrunError(
        f"{path}, line {line}: not {'UTF-8' if plain else encoding} text; set data.encoding="
        f"{', ' + examples if plain else ''}"
    )


def _odd_line(sample: bytes) -> int:
    """Return the number of the first line that is not UTF-8."""
    try:
        sample.decode()
    except UnicodeDecodeError as error:
        return sample.count(b"\n", 0, error.start) + 1
    return 1


def _lines(sample: bytes, encoding: str, whole: bool) -> list[str]:
    """Return the first lines with their ends; the last one may be cut."""
    text = codecs.getincrementaldecoder(encoding)("replace").decode(sample, final=whole)
    lines, seen = [], 0
    for match in LINES.finditer(text):
        lines.append(match[0])
        seen += len(match[0])
        if len(lines) == MOST_LINES or (seen > MOST_CHARACTERS and len(lines) >= FEWEST_LINES):
            break
    return lines


def _line_ends(lines: Sequence[str]) -> list[Finding]:
    ends = {line[-1:] for line in lines[:-1]}
    return [Finding("line ends", "CR, of old Macs")] if ends == {"\r"} else []


# --- above the table ------------------------------------------------------------------------


def _top(lines: Sequence[str], settings: FileSettings) -> _Top:
    if isinstance(settings.header, int):
        return _Top(settings.header - 1)
    if isinstance(settings.skip_rows, int):
        return _Top(settings.skip_rows)
    first = next((i for i, line in enumerate(lines) if line.strip()), 0)
    named = re.fullmatch(r'"?sep=(.)"?', lines[first].strip("\r\n ")) if lines else None
    if named is not None:
        finding = Finding("first line", f"'sep={named[1]}' names the separator", "data.skip_rows=0")
        return _Top(first + 1, named[1], findings=(finding,))
    return _comments_at_the_top(lines, settings.comment)


def _comments_at_the_top(lines: Sequence[str], setting: str) -> _Top:
    comments = [i for i, line in enumerate(lines) if _is_comment(line, setting)]
    rows = (i for i, line in enumerate(lines) if line.strip() and not _is_comment(line, setting))
    first = next(rows, 0)
    above = [i for i in comments if i < first]
    if not above:
        return _Top(0)
    told = [lines[i] for i in above if lines[i].strip().strip("".join(COMMENTS))]
    return _Top(first, None, len(above), told[-1] if told else None)


def _is_comment(line: str, setting: str) -> bool:
    if setting not in (AUTO, NONE):
        return line.startswith(setting)
    text = line.strip()
    if setting == AUTO and RULE.fullmatch(text):
        return True
    known = setting == AUTO and text.startswith(COMMENTS)
    return known and not (text.startswith(";") and ";" in text[1:])  # a separator


def _commented(top: _Top, found: Delimiter) -> Record | None:
    """Return the last comment as a header; the sign belongs to a name that follows at once."""
    if top.commented is None:
        return None
    sign = re.match(r"\s*(?:#+|%+|/{2,}|;+)\s+", top.commented)
    text = top.commented[sign.end() :] if sign else top.commented
    return next(iter(split([text], found.separator, top.lines - 1)), None)


# --- what is said ---------------------------------------------------------------------------


def _encoding_found(settings: FileSettings, encoding: str) -> Finding | None:
    return encoding_finding(encoding) if settings.encoding == AUTO else None


def _comments_found(top: _Top, layout: Layout) -> list[Finding]:
    number = top.comments - layout.commented
    if number < 1:
        return []
    value = f"{counted(number, 'line')} above the table skipped"
    return [Finding("comments", value, "data.comment=none")]


def _separators_found(found: Delimiter, settings: FileSettings) -> list[Finding]:
    findings = []
    if settings.separator == AUTO and found.separator != ",":
        value = SIGNS.get(found.separator, f"'{found.separator}'")
        findings.append(Finding("separator", value, "data.separator=…"))
    if settings.decimal == AUTO and found.decimal == ",":
        findings.append(Finding("decimal", "comma", "data.decimal=point"))
    elif settings.decimal == AUTO and found.separator == ";":
        rows = [record.fields for record in found.records[1 : 1 + LOOKED_AT]]
        if (cell := example_of_doubt(rows)) is not None:
            value = f"point in {cell}: it does not separate thousands"
            findings.append(Finding("decimal", value, "data.decimal=comma"))
    return findings
