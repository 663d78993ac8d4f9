"""Tables from standard input and from http(s) addresses, stored in the cache folder."""

import functools
import hashlib
import http.client
import json
import logging
import os
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import SplitResult, unquote, urlsplit

from mlrun.data.source_file import LARGEST, expanded
from mlrun.errors import MlrunError
from mlrun.system.cache import cache_folder, forget_old
from mlrun.system.files import write_atomically
from mlrun.system.locks import sync, temporary_folder
from mlrun.version import __version__

log = logging.getLogger(__name__)

STDIN = "-"
ADDRESS = re.compile(r"(https?):/+(?=[^/])", re.IGNORECASE)  # Path("https://x") has one slash
SECONDS = 30.0  # without any answer
BLOCK = 2**20
MOST_FILES = 64  # in the cache; the least recently used ones are deleted


def is_remote(name: str | Path) -> bool:
    """Whether this names standard input, an address or a pipe, and no file."""
    remote = str(name) == STDIN or ADDRESS.match(str(name)) is not None
    return remote or expanded(name).is_fifo()


def local_copy(name: str | Path) -> Path:
    """Return a file with the content; its path contains the SHA-256 of the content.

    Standard input and addresses are read once per process. A later process asks the server
    whether the stored content is still current, and uses it if the server does not answer.

    Args:
        name: "-" for standard input, an http(s) address, or the path of a file.

    Raises:
        MlrunError: nothing can be read, or there is no cache folder.
    """
    if str(name) == STDIN:
        return _standard_input()
    if ADDRESS.match(str(name)):
        return _download(ADDRESS.sub(lambda found: f"{found[1].lower()}://", str(name), count=1))
    path = expanded(name)
    if path.is_fifo():
        return _pipe(path)
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise MlrunError(f"cannot read {path}: neither a file nor a pipe")
    return path


@functools.cache  # it can be read once
def _pipe(path: Path) -> Path:
    with path.open("rb") as content:
        return _stored(content, _file_name(path.name), str(path))


@functools.cache  # it can be read once
def _standard_input() -> Path:
    if sys.stdin is None or sys.stdin.isatty():
        raise MlrunError("data: '-' reads standard input, which is a terminal: add < FILE")
    return _stored(sys.stdin.buffer, "stdin", "standard input")


@functools.cache  # the same content for all jobs of a sweep
def _download(address: str) -> Path:
    known = _folder() / f"{hashlib.sha256(address.encode()).hexdigest()[:32]}.json"
    entry = _entry(known)
    try:
        return _asked(address, known, entry)
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = _reason(error)
        if entry is None or isinstance(error, ValueError | urllib.error.HTTPError):
            raise MlrunError(f"cannot read {_shown(address)}: {reason}") from None
        log.warning("cannot reach %s (%s); using the stored copy", _shown(address), reason)
        return Path(entry["file"])


def _asked(address: str, known: Path, entry: Mapping[str, Any] | None) -> Path:
    """Download the content, unless the stored one is current."""
    headers = {"User-Agent": f"mlrun/{__version__}", **(entry or {}).get("ask", {})}
    request = urllib.request.Request(address, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            file = _stored(answer, _file_name(address), _shown(address))
            _check_length(file, answer.headers.get("Content-Length"))
            asks = {"If-None-Match": "ETag", "If-Modified-Since": "Last-Modified"}
            found = {ask: answer.headers[header] for ask, header in asks.items()}
    except urllib.error.HTTPError as error:
        error.close()
        if entry is None or error.code != http.HTTPStatus.NOT_MODIFIED:
            raise
        os.utime(Path(entry["file"]).parent)
        return Path(entry["file"])
    ask = {name: value for name, value in found.items() if value is not None}
    write_atomically(known, json.dumps({"file": str(file), "ask": ask}).encode(), durable=False)
    return file


def _check_length(file: Path, length: str | None) -> None:
    if length is not None and str(file.stat().st_size) != length.strip():
        file.unlink()
        raise OSError("the content ended early")


def _entry(known: Path) -> Mapping[str, Any] | None:
    """Return what is known of an earlier download, if its content is still there."""
    try:
        entry: Mapping[str, Any] = json.loads(known.read_text("utf-8"))
        return entry if Path(entry["file"]).is_file() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"{error.code} {error.reason}"
    reason = getattr(error, "reason", error)
    return str(getattr(reason, "strerror", None) or reason or type(error).__name__)


def _shown(address: str) -> str:
    """Return the address without a password and without its query, which may hold a key."""
    parts = _parts(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _parts(address: str) -> SplitResult:
    """Return the parts of an address.

    Raises:
        MlrunError: it is no address.
    """
    try:
        return urlsplit(address)
    except ValueError as error:
        raise MlrunError(f"data: the address of a file is not valid: {error}") from None


def _file_name(address: str) -> str:
    name = unquote(_parts(address).path).rpartition("/")[2]
    return re.sub(r"[^\w.() -]", "_", name).lstrip(".")[-100:] or "table"


# --- the cache ------------------------------------------------------------------------------


def _folder() -> Path:
    folder = cache_folder("downloads")
    if folder is None:
        raise MlrunError("there is no cache folder to store the table in; name a file instead")
    return folder


def _stored(content: BinaryIO, name: str, shown: str) -> Path:
    """Write the content below its SHA-256 and return that file."""
    folder, digest, size = _folder(), hashlib.sha256(), 0
    with temporary_folder(folder) as unfinished:
        with (unfinished / name).open("wb") as file:
            while block := content.read(BLOCK):
                size += len(block)
                if size > LARGEST:
                    raise MlrunError(f"{shown} has more than {LARGEST:,} bytes")
                digest.update(block)
                file.write(block)
            file.flush()
            sync(file.fileno())
        place = folder / digest.hexdigest()
        place.mkdir(mode=0o700, exist_ok=True)
        (unfinished / name).replace(place / name)
    os.utime(place)
    forget_old(folder, MOST_FILES)
    return place / name
