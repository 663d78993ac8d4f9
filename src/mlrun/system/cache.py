"""The user's cache folder: compiled kernels, parsed and loaded tables. You can delete all of it."""

import atexit
import functools
import logging
import os
import re
import shutil
import stat
import tempfile
from pathlib import Path

import platformdirs

log = logging.getLogger(__name__)

COMPILER_CACHE = "TORCHINDUCTOR_CACHE_DIR"
ENTRY = re.compile(r"[0-9a-f]{32}|[0-9a-f]{64}")  # named after the hash of its content


def cache_folder(name: str) -> Path | None:
    """Return a cache folder that only this user can write to, or None.

    mlrun trusts the files in it, so no other user may be able to write there.
    """
    folder = _all_caches() / name
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        usable = is_private(folder) and os.access(folder, os.W_OK)
    except OSError as error:
        _say_once(folder, str(error.strerror))
        return None
    if not usable:
        _say_once(folder, "it must be a folder that only you can write to")
    return folder if usable else None


def without_cache_folder(text: str) -> str:
    """Return a message that names stored files by their names alone."""
    folder = _all_caches() / "downloads"
    return re.sub(rf"{re.escape(str(folder))}/[0-9a-f]{{64}}/", "", text)


def _all_caches() -> Path:
    """Return mlrun's folder in the user's cache folder; without a home folder, it cannot exist."""
    try:
        folder = platformdirs.user_cache_path("mlrun")
    except RuntimeError:
        folder = Path("~")
    return folder if folder.is_absolute() else Path(os.devnull)


def use_private_compiler_cache() -> None:
    """Let torch.compile use a folder that only this user can write to, unless the user chose one.

    Its default is /tmp/torchinductor_USER, which others can create first, with code in it.
    """
    chosen = Path(os.environ.get(COMPILER_CACHE, ""))
    shared = chosen.parent == Path(tempfile.gettempdir())
    if chosen == Path() or (shared and chosen.name.startswith("torchinductor_")):  # set by torch
        os.environ[COMPILER_CACHE] = str(cache_folder("torch") or _temporary())


@functools.cache
def _temporary() -> str:
    folder = tempfile.mkdtemp(prefix="mlrun-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def _say_once(folder: Path, reason: str) -> None:
    log.info("no cache in %s: %s", folder, reason)


def is_private(path: Path) -> bool:
    """Whether only this user can write to `path`."""
    status = path.lstat()
    others_write = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    own = not hasattr(os, "getuid") or status.st_uid == os.getuid()
    return own and not others_write and not path.is_symlink()


def forget_old(folder: Path, most: int) -> None:
    """Delete all entries of a cache but the `most` recently used ones."""
    entries = [entry for entry in os.scandir(folder) if ENTRY.fullmatch(entry.name)]
    newest = sorted(entries, key=lambda entry: entry.stat().st_mtime, reverse=True)
    for entry in newest[most:]:
        shutil.rmtree(entry, ignore_errors=True)
