"""The output at the end of a sweep: table, failures, next commands."""

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console as RichConsole
from rich.table import Table

from mlrun.config.allowlist import allow_words, allowed_now
from mlrun.report.safe_console import plain_console
from mlrun.sweeps.folder import SweepFolder, is_at_work, open_sweep
from mlrun.sweeps.journal import DONE, FAILED, STOPPED, Entry
from mlrun.sweeps.summary import SURE, Setting, by_setting, difference, fronts, kind_of, ranked
from mlrun.system.files import blamed_on
from mlrun.system.plain_text import one_line

TOP = 10
WIDTH = 80


def show_sweep(path: Path) -> None:
    """Print the state of a sweep from its folder alone.

    Raises:
        MlrunError: the folder is damaged.
    """
    sweep, out = open_sweep(path), plain_console()
    entries = [*sweep.journal.read().values()]
    counts = Counter(entry.status for entry in entries)
    numbers = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    status = sweep.record.get("status")
    if status == "running" and not is_at_work(path):
        status = "killed"
    with blamed_on(sweep.journal.path):
        ranking = ranked(by_setting(entries, sweep.record["swept"]))
    out.print(f"status       {one_line(status)}: {numbers}")
    out.print(f"command      {one_line(sweep.record.get('command'))}")
    show_end(sweep, ranking, quiet=False)
    if sweep.record.get("status") != "done":
        out.print(f"continue     {shlex.join(['mlrun', 'resume', str(path)])}")


def show_end(sweep: SweepFolder, ranking: Sequence[Setting], *, quiet: bool) -> None:
    """Print every failure, the top settings, the best run and its commands.

    With `quiet`, print only the failures and the sweep folder.
    """
    failed = [entry for entry in sweep.journal.read().values() if entry.status == FAILED]
    _show_failures(failed, sweep.path, plain_console(stderr=True))
    out = plain_console()
    if quiet:
        out.print(str(sweep.path))
        return
    for kind in dict.fromkeys(map(kind_of, ranking)):
        _show_kind([one for one in ranking if kind_of(one) == kind], sweep.path, out)
    for front in fronts(ranking):
        _show_front(front, out)
    if sweep.record.get("sample"):
        out.print("data         bundled SAMPLE data, not real data")
    entries = sweep.journal.read().values()
    if stopped := [entry for entry in entries if entry.status == STOPPED]:
        epochs = sum(entry.epochs or 0 for entry in entries)
        out.print(f"stopped {len(stopped)} jobs early; trained {epochs} epochs in total")
    out.print(f"summary      {sweep.path / 'summary.csv'}")
    out.print(f"sweep folder {sweep.path}")


def _show_kind(ranking: Sequence[Setting], folder: Path, out: RichConsole) -> None:
    best = ranking[0]
    repeated = any(len(setting.scores) > 1 for setting in ranking)
    table = Table(box=None, padding=(0, 1), header_style="dim")
    table.add_column("#", justify="right")
    table.add_column(one_line(best.monitor), justify="right", no_wrap=True)
    if repeated:
        table.add_column("±", justify="right", no_wrap=True)
        table.add_column("seeds", justify="right")
    table.add_column("job", justify="right")
    table.add_column("overrides", overflow="fold")
    for rank, setting in enumerate(ranking[:TOP], start=1):
        spread = "" if setting.deviation is None else f"{setting.deviation:.3g}"
        of_seeds = [spread, str(len(setting.scores))] if repeated else []
        words = " ".join(map(_short, setting.overrides)) or f"task={setting.task}"
        numbers = [str(rank), f"{setting.mean:.5g}", *of_seeds, str(setting.best_job.job)]
        table.add_row(*numbers, one_line(words))
    out.print(table, soft_wrap=False, width=WIDTH)
    if len(ranking) > TOP:
        out.print(f"… and {len(ranking) - TOP} more in summary.csv")
    if len(ranking) > 1:
        _show_difference(ranking[0], ranking[1], out)
    run = folder / best.best_job.folder
    own = allow_words(allowed_now())
    out.print(f"best run     {run}")
    if not (run / "members").is_dir():
        out.print(f"again        {shlex.join(['mlrun', 'rerun', str(run), *own])}")
    predict = shlex.join(["mlrun", "predict", str(run)])
    out.print(" ".join([f"new rows     {predict} --input FILE", *map(shlex.quote, own)]))


def _show_front(front: Sequence[Setting], out: RichConsole) -> None:
    """Print a Pareto front: objectives and best job of each setting."""
    names = [*map(one_line, front[0].objectives)]
    out.print(f"Pareto front of {' and '.join(names)}:")
    table = Table(box=None, padding=(0, 1), header_style="dim")
    for name in (*names, "job"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("overrides", overflow="fold")
    for setting in front[:TOP]:
        numbers = [f"{value:.5g}" for value in setting.objectives.values()]
        words = one_line(" ".join(map(_short, setting.overrides)))
        table.add_row(*numbers, str(setting.best_job.job), words)
    out.print(table, soft_wrap=False, width=WIDTH)
    if len(front) > TOP:
        out.print(f"… and {len(front) - TOP} more in sweep.json")


def _short(word: str) -> str:
    """Return KEY=VALUE with long numbers rounded to four digits."""
    key, equals, value = word.partition("=")
    try:
        return f"{key}={float(value):.4g}" if equals and len(value) > 10 else word
    except ValueError:
        return word


def _show_difference(first: Setting, second: Setting, out: RichConsole) -> None:
    found = difference(first, second)
    if found is None:
        return
    test, chance = found
    relation = "differ" if chance < SURE else "are not distinguishable"
    out.print(f"first and second {relation} ({test}: p = {chance:.2g})")


def _show_failures(failed: Sequence[Entry], folder: Path, out: RichConsole) -> None:
    """Print each reason once, with its failed jobs."""
    reasons: dict[str, list[Entry]] = {}
    for entry in failed:
        reasons.setdefault(entry.error, []).append(entry)
    for reason, entries in reasons.items():
        jobs = f"job {entries[0].job} ({one_line(' '.join(entries[0].overrides))})"
        if len(entries) > 1:
            numbers = ", ".join(str(entry.job) for entry in entries[:TOP])
            jobs = f"{len(entries)} jobs ({numbers}{', …' * (len(entries) > TOP)})"
        out.print(f"error: {jobs} failed: {one_line(reason)}")
        out.print(f"       {folder / entries[0].folder / 'run.log'}")
    if failed:
        own = map(shlex.quote, allow_words(allowed_now()))
        repeat = shlex.join(["mlrun", "resume", str(folder)])
        out.print(" ".join([f"repeat       {repeat} --failed", *own]))


def show_what_is_left(sweep: SweepFolder) -> None:
    """Print that a failure stopped the sweep, and how to continue."""
    statuses = [entry.status for entry in sweep.journal.read().values()]
    left = sum(status not in (DONE, FAILED, STOPPED) for status in statuses)
    command = shlex.join(["mlrun", "resume", str(sweep.path), *allow_words(allowed_now())])
    out = plain_console(stderr=True)
    out.print(f"stopped by sweep.fail_fast; jobs left: {left}; to continue: {command}")
