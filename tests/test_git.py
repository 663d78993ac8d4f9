"""The commit of a stranger's repository: git is asked for it, and runs none of its programs."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlrun.system.git import git_state

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

AUTHOR = ("-c", "user.name=x", "-c", "user.email=x@x.example")


def git(*arguments: str, folder: str | Path = "repo") -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    words = ["git", "-C", str(folder), *AUTHOR, *arguments]
    done = subprocess.run(words, check=True, capture_output=True, text=True, env=clean)
    return done.stdout.strip()


@pytest.fixture
def repo(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clean repository with a file and a commit, whose index is out of date."""
    home = workdir / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    subprocess.run(["git", "init", "--quiet", "repo"], check=True)
    (workdir / "repo" / "file").write_text("content\n")
    git("add", "file")
    git("commit", "--quiet", "--message=x")
    touch(workdir / "repo" / "file")
    return workdir / "repo"


def touch(file: Path) -> None:
    """Let git compare the content again."""
    os.utime(file, (1, 1))


def pwn(workdir: Path) -> str:
    return f"touch {workdir}/PWNED; cat"


def state(folder: str | Path = "repo") -> Any:
    before = Path.cwd()
    os.chdir(folder)
    try:
        return git_state()
    finally:
        os.chdir(before)
        assert not [*before.rglob("PWNED")]


def test_a_clean_repository_and_one_with_changes(repo):
    commit = git("rev-parse", "HEAD")
    assert state() == {"commit": commit, "dirty": False}
    (repo / "new").touch()
    assert state() == {"commit": commit, "dirty": True}
    (repo / "new").unlink()
    (repo / "file").write_text("other\n")
    assert state(repo) == {"commit": commit, "dirty": True}


def test_without_repository_or_commit_there_is_no_state(workdir):
    subprocess.run(["git", "init", "--quiet", "empty"], check=True)
    assert state(workdir) is None
    assert state("empty") is None


def hooks(repo: Path, workdir: Path) -> None:
    for name in ("post-index-change", "reference-transaction", "fsmonitor-watchman"):
        hook = repo / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\n{pwn(workdir)}\n")
        hook.chmod(0o755)


def a_folder_of_hooks(repo: Path, workdir: Path) -> None:
    hooks(repo, workdir)
    (repo / ".git" / "hooks").rename(workdir / "elsewhere")
    git("config", "core.hooksPath", str(workdir / "elsewhere"))


def a_monitor(repo: Path, workdir: Path) -> None:
    git("config", "core.fsmonitor", f"{pwn(workdir)}; false")


def a_monitor_of_the_worktree(repo: Path, workdir: Path) -> None:
    git("config", "extensions.worktreeConfig", "true")
    git("config", "--worktree", "core.fsmonitor", f"{pwn(workdir)}; false")


def an_included_monitor(repo: Path, workdir: Path) -> None:
    (repo / ".git" / "more").write_text(f'[core]\n\tfsmonitor = "{pwn(workdir)}; false"\n')
    git("config", "include.path", "more")


def programs_for_people(repo: Path, workdir: Path) -> None:
    """Settings for commands that are not used, and one that is, as an alias."""
    for name in ("alias.status", "alias.rev-parse", "alias.config"):
        git("config", name, f"!{pwn(workdir)}")
    names = ("core.pager", "core.editor", "core.sshCommand", "core.askPass", "gpg.program")
    for name in (*names, "diff.external", "credential.helper", "core.alternateRefsCommand"):
        git("config", name, pwn(workdir))
    for name in ("pager.status", "log.showSignature", "status.submoduleSummary"):
        git("config", name, "true")
    git("config", "diff.d.textconv", pwn(workdir))
    git("config", "diff.d.command", pwn(workdir))
    (repo / ".git" / "info").mkdir(exist_ok=True)
    (repo / ".git" / "info" / "attributes").write_text("* diff=d merge=d\n")


@pytest.mark.parametrize(
    "plant",
    [
        hooks,
        a_folder_of_hooks,
        a_monitor,
        a_monitor_of_the_worktree,
        an_included_monitor,
        programs_for_people,
    ],
)
def test_programs_that_can_be_turned_off_do_not_run(
    repo: Path, workdir: Path, plant: Callable[[Path, Path], None]
) -> None:
    plant(repo, workdir)
    touch(repo / "file")
    assert state() == {"commit": git("rev-parse", "HEAD"), "dirty": False}


def test_asking_does_not_write_the_index(repo):
    index = (repo / ".git" / "index").read_bytes()
    assert state()["dirty"] is False
    assert (repo / ".git" / "index").read_bytes() == index


def a_filter(repo: Path, workdir: Path) -> None:
    git("config", "filter.f.clean", pwn(workdir))
    attributes(repo, "file filter=f\n")


def a_filter_process(repo: Path, workdir: Path) -> None:
    git("config", "filter.f.process", pwn(workdir))
    attributes(repo, "* filter=f\n")


def the_users_own_filter(repo: Path, workdir: Path) -> None:
    git("config", "--global", "filter.lfs.clean", pwn(workdir))
    attributes(repo, "[attr]big filter=lfs\nfile big\n")


def a_filter_with_attributes_of_the_repository(repo: Path, workdir: Path) -> None:
    git("config", "filter.f.clean", pwn(workdir))
    (repo / ".git" / "info").mkdir(exist_ok=True)
    (repo / ".git" / "info" / "attributes").write_text("* filter=f\n")


def a_filter_with_attributes_elsewhere(repo: Path, workdir: Path) -> None:
    git("config", "filter.f.clean", pwn(workdir))
    (workdir / "attributes").write_text("* filter=f\n")
    git("config", "core.attributesFile", str(workdir / "attributes"))


def attributes(repo: Path, text: str) -> None:
    """Commit a .gitattributes, without the filter that it names."""
    (repo / ".gitattributes").write_text(text)
    off = ("-c", "filter.f.clean=", "-c", "filter.f.process=", "-c", "filter.lfs.clean=")
    git(*off, "add", ".gitattributes")
    git(*off, "commit", "--quiet", "--message=attributes")


def a_fetch_of_what_is_missing(repo: Path, workdir: Path) -> None:
    """A partial clone without the tree of its commit, from a folder that names its own program."""
    git("config", "core.repositoryFormatVersion", "1")
    git("config", "extensions.partialClone", "origin")
    promise(repo, workdir)


def a_fetch_from_a_promisor(repo: Path, workdir: Path) -> None:
    promise(repo, workdir)
    git("config", "remote.origin.promisor", "true")


def a_fetch_with_a_filter(repo: Path, workdir: Path) -> None:
    promise(repo, workdir)
    git("config", "remote.origin.partialCloneFilter", "blob:none")


def promise(repo: Path, workdir: Path) -> None:
    shutil.copytree(repo / ".git", workdir / "origin")
    git("config", "remote.origin.url", str(workdir / "origin"))
    git("config", "remote.origin.uploadpack", pwn(workdir))
    git("config", "protocol.allow", "always")
    tree = git("rev-parse", "HEAD^{tree}")
    (repo / ".git" / "objects" / tree[:2] / tree[2:]).unlink()


def a_configured_hook(repo: Path, workdir: Path) -> None:
    """Newer versions of git read hooks from the configuration, too."""
    git("config", "hook.h.event", "post-index-change")
    git("config", "hook.h.command", pwn(workdir))


def a_virtual_file_system(repo: Path, workdir: Path) -> None:
    """Microsoft's git asks it which files there are."""
    git("config", "core.virtualFilesystem", pwn(workdir))


@pytest.mark.parametrize(
    "plant",
    [
        a_filter,
        a_filter_process,
        the_users_own_filter,
        a_filter_with_attributes_of_the_repository,
        a_filter_with_attributes_elsewhere,
        a_fetch_of_what_is_missing,
        a_fetch_from_a_promisor,
        a_fetch_with_a_filter,
        a_configured_hook,
        a_virtual_file_system,
    ],
)
def test_a_repository_that_needs_its_programs_is_not_checked_for_changes(
    repo: Path, workdir: Path, plant: Callable[[Path, Path], None]
) -> None:
    plant(repo, workdir)
    touch(repo / "file")
    assert state() == {"commit": git("rev-parse", "HEAD"), "dirty": None}


def test_a_filter_for_other_files_does_not_matter(repo):
    git("config", "--global", "filter.lfs.process", "git-lfs filter-process")
    git("config", "--global", "filter.lfs.required", "true")
    attributes(repo, "*.bin filter=lfs\n")
    touch(repo / "file")
    assert state()["dirty"] is False


def test_a_bare_repository_among_the_files_of_a_clone_is_none(repo, workdir):
    bare = repo / "part1"
    shutil.copytree(repo / ".git", bare)
    hooks(repo, workdir)
    shutil.rmtree(bare / "hooks", ignore_errors=True)
    (repo / ".git" / "hooks").rename(bare / "hooks")
    a_file = bare / "file"
    a_file.write_text("content\n")
    for name, value in (
        ("core.bare", "false"),
        ("core.worktree", "."),
        ("core.fsmonitor", f"{pwn(workdir)}; false"),
        ("filter.f.clean", pwn(workdir)),
    ):
        subprocess.run(["git", "config", "--file", str(bare / "config"), name, value], check=True)
    (bare / ".gitattributes").write_text("* filter=f\n")
    assert state(bare) is None


@pytest.mark.parametrize(
    "variables",
    [
        {"GIT_DIR": "{other}/.git"},
        {"GIT_DIR": "{other}/.git", "GIT_WORK_TREE": "{other}"},
        {"GIT_INDEX_FILE": "{other}/.git/index", "GIT_OBJECT_DIRECTORY": "{other}"},
        {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "core.fsmonitor",
            "GIT_CONFIG_VALUE_0": "touch {other}/PWNED; false",
        },
        {"GIT_CONFIG_PARAMETERS": "'core.fsmonitor=touch {other}/PWNED; false'"},
        {"GIT_CONFIG_GLOBAL": "{other}/evil.config", "GIT_EXTERNAL_DIFF": "touch {other}/PWNED"},
    ],
    ids=lambda variables: "+".join(variables),
)
def test_variables_of_git_choose_neither_repository_nor_programs(
    repo: Path, workdir: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    other = workdir / "other"
    subprocess.run(["git", "init", "--quiet", str(other)], check=True)
    git("commit", "--quiet", "--allow-empty", "--message=other", folder=other)
    evil = f'[core]\n\tfsmonitor = "touch {other}/PWNED; false"\n'
    (other / "evil.config").write_text(evil)
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(other=other))
    assert state() == {"commit": git("rev-parse", "HEAD"), "dirty": False}


def test_a_program_named_git_in_the_current_folder_is_not_run(repo, workdir, monkeypatch):
    for name in ("git", "git.exe", "git.bat"):
        (repo / name).write_text(f"#!/bin/sh\n{pwn(workdir)}\n")
        (repo / name).chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([".", "", os.environ["PATH"]]))
    assert state() == {"commit": git("rev-parse", "HEAD"), "dirty": True}
    monkeypatch.setenv("PATH", os.pathsep.join([".", ""]))
    assert state() is None


def test_a_changed_file_whose_name_is_not_text_is_a_change(repo):
    git("config", "core.quotePath", "false")
    Path(os.fsdecode(os.fsencode(repo) + b"/\xff\xfe")).touch()
    assert state()["dirty"] is True


def test_a_submodule_is_not_looked_into(repo, workdir):
    subprocess.run(["git", "init", "--quiet", "repo/sub"], check=True)
    git("commit", "--quiet", "--allow-empty", "--message=sub", folder="repo/sub")
    a_monitor_of = pwn(workdir)
    git("add", "sub")
    (repo / ".gitmodules").write_text(
        '[submodule "sub"]\n\tpath = sub\n\turl = ./sub\n\tignore = none\n'
    )
    git("add", ".gitmodules")
    git("commit", "--quiet", "--message=with a submodule")
    git("config", "core.fsmonitor", f"{a_monitor_of}; false", folder="repo/sub")
    git("config", "diff.ignoreSubmodules", "none")
    (repo / "sub" / "new").touch()
    assert state()["dirty"] is False


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes in folders")
@pytest.mark.parametrize("name", [".gitignore", ".gitattributes", ".git/info/exclude"])
@pytest.mark.slow
def test_a_repository_that_hangs_is_not_waited_for(repo, monkeypatch, name):
    (repo / name).unlink(missing_ok=True)
    (repo / name).parent.mkdir(exist_ok=True)
    git("config", "filter.f.clean", "cat")
    os.mkfifo(repo / name)
    monkeypatch.setattr("mlrun.system.git.SECONDS", 0.5)
    begun = time.monotonic()
    assert state() == {"commit": git("rev-parse", "HEAD"), "dirty": None}
    assert time.monotonic() - begun < 5


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes in folders")
@pytest.mark.slow
def test_a_configuration_that_hangs_is_not_waited_for(repo, workdir, monkeypatch):
    os.mkfifo(workdir / "pipe")
    with (repo / ".git" / "config").open("a") as file:
        file.write(f"[include]\n\tpath = {workdir}/pipe\n")
    monkeypatch.setattr("mlrun.system.git.SECONDS", 0.5)
    begun = time.monotonic()
    assert state() is None
    assert time.monotonic() - begun < 5


def test_a_damaged_repository_has_no_state_or_no_answer(repo):
    (repo / ".git" / "index").write_bytes(b"nonsense")
    assert state() == {"commit": git("rev-parse", "HEAD"), "dirty": None}
    (repo / ".git" / "config").write_text("[")
    assert state() is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits another process")
@pytest.mark.parametrize("place", ["core.attributesFile", ".git/info/attributes"])
@pytest.mark.slow
def test_a_repository_that_never_ends_fills_no_memory(repo, monkeypatch, place):
    git("config", "filter.f.clean", "cat")
    if place.startswith("core."):
        git("config", place, "/dev/zero")
    else:
        (repo / place).symlink_to("/dev/zero")
    monkeypatch.setattr("mlrun.system.git.MEMORY", 2**26)
    monkeypatch.setattr("mlrun.system.git.SECONDS", 600.0)  # the memory ends it
    assert state() == {"commit": git("rev-parse", "HEAD"), "dirty": None}
