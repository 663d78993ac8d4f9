"""The user's cache folder: compiled kernels and parsed tables. You can delete all of it."""

import os
import stat
from pathlib import Path

import platformdirs


def cache_folder(name: str) -> Path | None:
    """Return a cache folder that only this user can write to, or None.

    mlrun trusts the files in it, so no other user may be able to write there.
    """
    folder = platformdirs.user_cache_path("mlrun") / name
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        usable = is_private(folder) and os.access(folder, os.W_OK)
    except OSError:
        return None
    return folder if usable else None


def is_private(path: Path) -> bool:
    """Whether only this user can write to `path`."""
    status = path.lstat()
    others_write = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    own = not hasattr(os, "getuid") or status.st_uid == os.getuid()
    return own and not others_write and not path.is_symlink()
