"""A text file ready to be read: its dialect is known, and all of it is text of its encoding."""

import codecs
import io
import re
from dataclasses import dataclass, replace
from pathlib import Path

from mlrun.data.cells import AUTO, FileSettings
from mlrun.data.dialect import SAMPLE, Dialect, detect, not_text
from mlrun.data.encoding import encoding_finding, guess
from mlrun.data.source_file import Source
from mlrun.errors import MlrunError

LONGEST_TOP = 64 * 2**20  # bytes in which the first lines must end
FEW = 20  # lines; with fewer in the sample, look further
BLOCK = 2**20  # characters
PAGE = re.compile(r"\s*<(!doctype html|html)\b", re.IGNORECASE)
ARFF = re.compile(r"(?:\s*%[^\n]*\n)*\s*@relation\b", re.IGNORECASE)


@dataclass(frozen=True)
class TextFile:
    """A text file with a known dialect."""

    path: Path
    source: Source
    settings: FileSettings
    dialect: Dialect
    is_plain: bool = False  # pyarrow understands its quotes

    def open(self, *, skip: int | None = None) -> io.TextIOWrapper:
        """Open the file as text, below its first `skip` lines; default: below the header."""
        binary = self.source.open()
        text = io.TextIOWrapper(binary, encoding=self.dialect.encoding, newline="")
        for _ in range(self.dialect.lines if skip is None else skip):
            text.readline()
        return text


def open_text(source: Source, settings: FileSettings, path: Path) -> TextFile:
    """Detect the dialect of a file and check that all of it is text.

    Raises:
        MlrunError: it is empty, an HTML page, has zero bytes, or is not text of its encoding.
    """
    sample, whole = _sample(source)
    dialect = detect(sample, settings, path=path, whole=whole)
    try:
        return _scanned(TextFile(path, source, settings, dialect))
    except UnicodeDecodeError:
        line, block = _odd_block(source, dialect.encoding)
    name = guess(block) if settings.encoding == AUTO and dialect.encoding == "utf-8" else None
    if name is None:
        raise not_text(path, dialect.encoding, line) from None
    dialect = detect(sample, replace(settings, encoding=name), path=path, whole=whole)
    findings = tuple(filter(None, (encoding_finding(name), *dialect.findings)))
    try:
        return _scanned(TextFile(path, source, settings, replace(dialect, findings=findings)))
    except UnicodeDecodeError:
        raise not_text(path, "utf-8", line) from None


def _sample(source: Source) -> tuple[bytes, bool]:
    """Return the start of the file, and whether it is all of it."""
    with source.open() as file:
        sample = file.read(SAMPLE)
        while sample.count(b"\n") + sample.count(b"\r") < FEW and len(sample) < LONGEST_TOP:
            more = file.read(SAMPLE)
            if not more:
                return sample, True
            sample += more
        return sample, not file.read(1)


def _scanned(file: TextFile) -> TextFile:
    """Read all of the text and look for what only Python reads right, or nobody."""
    spaced = re.compile(rf'(?:\A|[{re.escape(file.dialect.separator)}\r\n]) +"')
    quotes, is_spaced, before = 0, False, ""
    with file.open(skip=0) as text:
        while block := text.read(BLOCK):
            if "\0" in block:
                raise MlrunError(f"{file.path} contains zero bytes: it is not a CSV file")
            if not before and PAGE.match(block):
                raise MlrunError(f"{file.path} is an HTML page, not a table")
            if not before and ARFF.match(block):
                raise MlrunError(f"{file.path} is a file of Weka (ARFF): save it as .csv")
            quotes += block.count('"')
            is_spaced = is_spaced or ('"' in block and bool(spaced.search(before + block)))
            before = block[len(block.rstrip(" ")) - 1 :] or " "
    is_plain = file.dialect.separator != " " and quotes % 2 == 0 and not is_spaced
    return replace(file, is_plain=is_plain)


def _odd_block(source: Source, encoding: str) -> tuple[int, bytes]:
    """Return the number of the first line that is not text, and the bytes around it."""
    decoder, lines = codecs.getincrementaldecoder(encoding)(), 1
    with source.open() as file:
        while block := file.read(BLOCK):
            try:
                lines += decoder.decode(block).count("\n")
            except UnicodeDecodeError as error:
                return lines + error.object.count(b"\n", 0, error.start), block
    return lines, b""
