"""Open a file for reading: plain or compressed, recognised by its first bytes."""

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from mlrun.data.cells import shortened
from mlrun.data.findings import Finding
from mlrun.data.foreign_formats import refuse_foreign
from mlrun.errors import MlrunError

IN_MEMORY = 16 * 2**20  # bytes; smaller contents are unpacked once
LARGEST = 100 * 10**9  # bytes of unpacked content
RATIO, FROM = 1000, 10**9  # unpacked to packed size, beyond this many bytes
NO_TABLES = (".md", ".pdf", ".html", ".htm", ".png", ".jpg", ".names", ".rtf", ".doc", ".docx")
WRONG = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)
Opener = Callable[[], BinaryIO]


@dataclass(frozen=True)
class Source:
    """The content of a file, unpacked."""

    path: Path
    name: str  # of the content: without .gz, or that of the file inside a .zip
    open: Opener  # at the start; can be called repeatedly
    findings: tuple[Finding, ...] = ()


def expanded(name: str | Path) -> Path:
    """Return a path in which ~ is the home folder.

    Raises:
        MlrunError: there is no home folder.
    """
    try:
        return Path(name).expanduser()
    except RuntimeError:
        raise MlrunError(f"{name}: no home folder is known; write the whole path") from None


def find_source(path: Path) -> Source:
    """Return what to read from a file.

    Raises:
        MlrunError: the file is unreadable, or an archive with several tables. Reading raises one
            if the content is damaged or unpacks to an unreasonable size.
    """
    path = expanded(path)
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise MlrunError(f"cannot read {path}: {error.strerror}") from None
    unpacked = {".gz", ".bz2", ".xz", ".zst", ".zip"} & {path.suffix.lower()}
    name = path.stem if unpacked else path.name
    for magic, opener in PACKED.items():
        if start.startswith(magic):
            return _checked(_packed(path, name, opener))
    if start.startswith(b"PK\x03\x04"):
        refuse_foreign(path, path.name, start)
        if not _is_spreadsheet(path):
            return _in_archive(path)
    return _checked(Source(path, name, lambda: _plain(path)))


def in_memory(source: Source) -> Source:
    """Return a source that is unpacked once, if the content is small."""
    with source.open() as file:
        content = file.read(IN_MEMORY + 1)
    if len(content) > IN_MEMORY:
        return source
    return Source(source.path, source.name, lambda: io.BytesIO(content), source.findings)


def seekable(source: Source) -> BinaryIO:
    """Open the content so that it can be read in any order."""
    file = source.open()
    if file.seekable():
        return file
    with file:
        return io.BytesIO(file.read())


def check_size(source: Source) -> None:
    """Check the size of a spreadsheet, which is a zip archive.

    Raises:
        MlrunError: it unpacks to an unreasonable size.
    """
    try:
        with seekable(source) as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except WRONG as error:
        raise _damaged(source.path, error) from None
    unpacked = sum(member.file_size for member in members)
    if _is_bomb(unpacked, sum(member.compress_size for member in members)):
        raise _bomb(source.path, unpacked)


def _is_bomb(unpacked: int, packed: int) -> bool:
    return unpacked > LARGEST or unpacked > max(FROM, RATIO * packed)


def _bomb(path: Path, unpacked: int) -> MlrunError:
    return MlrunError(
        f"{path} is refused: its {path.stat().st_size:,} bytes unpack to {unpacked:,} or more"
    )


def _plain(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise MlrunError(f"cannot read {path}: {error.strerror}") from None


def _packed(path: Path, name: str, opener: Callable[[Path], BinaryIO]) -> Source:
    return Source(path, name, lambda: _guarded(path, opener(path)))


def _checked(source: Source) -> Source:
    if source.name.lower().endswith((".tar", ".tgz")):
        raise MlrunError(f"{source.path} is a tar archive: unpack it and name the table")
    return source


# --- compressed files -----------------------------------------------------------------------


def _zstandard(path: Path) -> BinaryIO:
    import pyarrow

    return cast(BinaryIO, pyarrow.CompressedInputStream(pyarrow.OSFile(str(path)), "zstd"))


def _gzip(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.GzipFile(path))


def _bzip2(path: Path) -> BinaryIO:
    return cast(BinaryIO, bz2.BZ2File(path))


def _xz(path: Path) -> BinaryIO:
    return cast(BinaryIO, lzma.LZMAFile(path))


PACKED: dict[bytes, Callable[[Path], BinaryIO]] = {
    b"\x1f\x8b": _gzip,
    b"BZh": _bzip2,
    b"\xfd7zXZ\0": _xz,
    b"\x28\xb5\x2f\xfd": _zstandard,
}


class _Guarded(io.RawIOBase):
    """Unpacked content, with errors for users and a limit of its size."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path, self._file, self._bytes = path, file, 0
        self._packed = path.stat().st_size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            content = self._file.read(len(buffer))
        except WRONG as error:
            raise _damaged(self._path, error) from None
        buffer[: len(content)] = content
        self._bytes += len(content)
        if _is_bomb(self._bytes, self._packed):
            raise _bomb(self._path, self._bytes)
        return len(content)

    def close(self) -> None:
        self._file.close()
        super().close()


def _guarded(path: Path, file: BinaryIO) -> BinaryIO:
    return cast(BinaryIO, io.BufferedReader(_Guarded(path, file), 2**20))


def _damaged(path: Path, error: Exception) -> MlrunError:
    return MlrunError(f"{path} cannot be unpacked: {shortened(error, 100) or 'damaged'}")


# --- zip archives ---------------------------------------------------------------------------


def _is_spreadsheet(path: Path) -> bool:
    return any(name.startswith("xl/") for name in _members(path))


def _members(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return [member.filename for member in archive.infolist() if not member.is_dir()]
    except WRONG as error:
        raise _damaged(path, error) from None


def _in_archive(path: Path) -> Source:
    files = [name for name in _members(path) if not _is_hidden(name)]
    tables = [name for name in files if not name.lower().endswith(NO_TABLES)]
    if len(tables) != 1:
        listed = shortened(", ".join(sorted(tables)), 100)
        contains = f"{len(tables)} tables ({listed})" if tables else "no table"
        raise MlrunError(f"{path} contains {contains}; unpack it and name one")
    finding = Finding("archive", f"reads '{tables[0]}' in the zip file")
    name = PurePosixPath(tables[0]).name
    return Source(path, name, lambda: _open_member(path, tables[0]), (finding,))


def _is_hidden(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return any(part.startswith((".", "__MACOSX")) and part != ".." for part in parts)


def _open_member(path: Path, name: str) -> BinaryIO:
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.open(name)  # keeps the file open
    except (RuntimeError, NotImplementedError, *WRONG) as error:  # a password, an odd method
        raise _damaged(path, error) from None
    return _guarded(path, cast(BinaryIO, member))
