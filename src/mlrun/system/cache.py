"""The user's cache: compiled kernels and parsed tables. Everything in it can be deleted."""

import os
import stat
from pathlib import Path

import platformdirs


def cache_folder(name: str) -> Path | None:
    """A folder of the cache that only this user can write to; None where there is none.

    What lies in it is trusted, so no one else may have put it there.
    """
    folder = platformdirs.user_cache_path("mlrun") / name
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        usable = is_private(folder) and os.access(folder, os.W_OK)
    except OSError:
        return None
    return folder if usable else None


def is_private(path: Path) -> bool:
    """Whether nobody else could have written there."""
    status = path.lstat()
    others_write = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    own = not hasattr(os, "getuid") or status.st_uid == os.getuid()
    return own and not others_write and not path.is_symlink()
