"""The commit of the current folder and whether files differ, without programs of the repository.

The repository may come from a stranger, and git runs programs that a repository names or contains:
hooks, a monitor of the file system, filters of file contents, and transports that fetch what a
partial clone lacks. Options of the command line take precedence over settings in files. What no
option turns off makes `dirty` unknown.
"""

import os
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

if sys.platform == "linux":
    import resource

SECONDS = 5.0  # for each question; a repository can be huge, or made to hang
MEMORY = 2**30  # bytes that git may allocate; files that it maps do not count
_OPTIONS = (
    "--no-pager",
    "--no-optional-locks",  # otherwise `status` writes the index, which runs a hook
    *("-c", f"core.hooksPath={os.devnull}"),
    *("-c", "core.fsmonitor=false"),
    *("-c", "safe.bareRepository=explicit"),  # a repository may consist of files of another one
)
_ENVIRONMENT = {"GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "none", "GIT_TERMINAL_PROMPT": "0"}
# Settings that can name a program which no option above turns off.
_NAMES_PROGRAMS = re.compile(
    r"hook\.|core\.virtualfilesystem|extensions\.partialclone|remote\..*\.(promisor|partialclone)",
    re.IGNORECASE,
)
_STATUS = ("status", "--porcelain", "--untracked-files=normal", "--ignore-submodules=all")
_WITH_FILTER = ("ls-files", "-z", "--", ":/", ":(top,exclude,attr:!filter)")


def git_state() -> dict[str, Any] | None:
    """Return the commit, and whether files differ; None without git, repository or commit.

    `dirty` is None if git cannot tell without running a program of the repository.
    """
    try:
        commit = _git("rev-parse", "--verify", "HEAD").decode("ascii", "replace").strip()
    except (OSError, subprocess.SubprocessError):
        return None
    try:
        return {"commit": commit, "dirty": _dirty()}
    except (OSError, subprocess.SubprocessError):  # a damaged, hanging or huge repository
        return {"commit": commit, "dirty": None}


def _dirty() -> bool | None:
    listed = _git("config", "--list", "--name-only", "-z").decode("utf-8", "replace")
    names = listed.split("\0")
    if any(map(_NAMES_PROGRAMS.match, names)):
        return None
    filters = any(name.startswith("filter.") for name in names)
    if filters and _git(*_WITH_FILTER):  # many users have the filter of git-lfs, but no such files
        return None
    return bool(_git(*_STATUS))


def _git(*arguments: str) -> bytes:
    """Return the answer of git.

    Raises:
        OSError: there is no git.
        SubprocessError: git failed, or did not answer in time.
    """
    with subprocess.Popen(
        [_program(), *_OPTIONS, *arguments],
        env={k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | _ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        _limit_memory(process.pid)
        try:
            answer, _ = process.communicate(timeout=SECONDS)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, arguments[0])
    return answer


def _limit_memory(process: int) -> None:
    """Limit what a process may allocate (Linux): its files may be links to endless devices."""
    if sys.platform == "linux":
        with suppress(OSError):  # it has ended
            resource.prlimit(process, resource.RLIMIT_DATA, (MEMORY, MEMORY))


def _program() -> str:
    """Return the path of git, which must not be a file of the current folder."""
    folders = [folder for folder in os.get_exec_path() if Path(folder).is_absolute()]
    found = shutil.which("git", path=os.pathsep.join(folders))
    if found is None or not Path(found).is_absolute():  # Windows looks into the current folder
        raise FileNotFoundError("git")
    return found
