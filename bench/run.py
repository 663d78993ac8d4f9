"""`make bench`: run all contestants in turn, each heat in a new process; write docs/benchmarks.md.

    .venv-bench/bin/python bench/run.py [--only covid,members] [--heats 5]

Runs in .venv-bench with the pinned packages of bench/requirements.txt; mlrun itself does not need
them. With --only, the other parts of the page stay unchanged.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from races import COVID, PEAK, QUIET, RACES, WHOLE, Entry, Race
from table import Measurement, Result, peaks, table, unlike

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
VERSIONS = ("torch", "lightning", "skorch", "keras", "jax", "joblib", "optuna", "ray", "hydra-core")
LIMIT_SECONDS = 600
HEAD = """\
# Benchmarks

`make bench` generates this page. Every contestant does the same work: the same rows (files with the
shapes of the real tasks and random values, `bench/jobs.py`), SGD with momentum 0.9, validation,
TensorBoard and the best checkpoint every epoch. Contestants take turns, and each heat runs in a new
process; the tables show medians. The time per step is the total time of all epochs, including
everything that belongs to an epoch, divided by the number of steps. It excludes the first epoch,
which imports and compiles (mlrun's first epoch is included). Slow contestants run fewer epochs.
A contestant is marked if its best validation loss of the first epochs differs from the others' by
more than 10 %; its time is then not comparable. torch uses one thread unless noted otherwise: more
threads made every small contestant slower. JAX and Ray choose their own number of threads.
"""


class Missing(Exception):
    """A contestant cannot run here; the message is the reason."""


def main() -> None:
    """Run the requested parts and write the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default=",".join(dict.fromkeys(race.part for race in RACES)))
    parser.add_argument("--heats", type=int, default=5)
    given = parser.parse_args()
    parts = given.only.split(",")
    if unknown := {*parts} - {race.part for race in RACES}:
        sys.exit(f"no such part: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, str(HERE / "prepare.py"), folder], check=True)
        quiet: dict[str, Result] = {}  # reference for the race with a busy core
        for race in (race for race in RACES if race.part in parts):
            results, missing = run(race, given.heats, Path(folder))
            write(race, section(race, results, missing, quiet if race.busy else {}))
            if race is COVID:
                quiet = {f"{label}{QUIET}": result for label, result in results.items()}


def run(race: Race, heats: int, folder: Path) -> tuple[dict[str, Result], dict[str, str]]:
    """Run all heats; return the results and the reasons for missing ones, both by label."""
    found: dict[str, list[Measurement]] = defaultdict(list)
    missing: dict[str, str] = {}
    with busy_core() if race.busy else idle():
        for number in range(heats):
            for entry in (e for e in race.entries if number < e.heats and e.label not in missing):
                print(f"{race.part}: {entry.label}, heat {number + 1} of {heats}", flush=True)
                try:
                    for label, measurement in heat(entry, race, folder):
                        found[label].append(measurement)
                except Missing as error:
                    missing[entry.label] = str(error)
    return {label: Result(label, of_it) for label, of_it in found.items()}, missing


def heat(entry: Entry, race: Race, folder: Path) -> Iterator[tuple[str, Measurement]]:
    """Run one process of a contestant; yield its measurements."""
    begun = time.perf_counter()
    output = answer_of(command(entry, race, folder), entry.threads, folder / "data")
    whole = time.perf_counter() - begun
    if not race.job:
        yield entry.label, Measurement(whole, 1, whole)
        return
    for line in output.splitlines():
        if line.startswith('{"label"'):
            answer = json.loads(line)
            scores = answer["losses"][: race.scored]
            measured = Measurement(
                answer["seconds"],
                answer["steps"],
                whole,
                min(scores, default=None),
                answer["flops"],
            )
            yield (
                answer["label"] or entry.label,
                as_a_whole(measured) if race is WHOLE else measured,
            )


def as_a_whole(measured: Measurement, steps: int = 27_000) -> Measurement:
    """Scale the loop to `steps` steps and add the rest of the process."""
    around = measured.whole - measured.seconds
    return replace(
        measured, seconds=around + measured.seconds / measured.steps * steps, steps=steps
    )


def command(entry: Entry, race: Race, folder: Path) -> list[str]:
    """Return the command line."""
    if not race.job:
        script = entry.script if entry.script[0] == "-" else str(HERE / "peers" / entry.script)
        return [sys.executable, script, *entry.options]
    script = str(HERE / "peers" / f"{entry.script}.py")
    return [sys.executable, script, str(folder), race.job, str(entry.epochs), *entry.options]


def answer_of(words: Sequence[str], threads: int | None, data: Path) -> str:
    """Run a process and return its output.

    Raises:
        Missing: a package is not installed, or the process takes too long or fails.
    """
    environment = dict(os.environ) | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
    with tempfile.TemporaryDirectory() as place:
        environment |= {"TMPDIR": place, "MLRUN_DATA": str(data)}
        try:
            done = subprocess.run(
                words, capture_output=True, cwd=place, env=environment, timeout=LIMIT_SECONDS
            )
        except subprocess.TimeoutExpired:
            raise Missing(f"took more than {LIMIT_SECONDS} s") from None
    error = done.stderr.decode(errors="replace").strip()
    if module := re.search(r"No module named '([\w.]+)'\s*$", error):
        raise Missing(f"{module[1]} is not installed here")
    if done.returncode:
        raise Missing(f"failed: {error.splitlines()[-1] if error else done.returncode}")
    return done.stdout.decode(errors="replace")


@contextmanager
def busy_core() -> Iterator[None]:
    """Keep one core busy with another process."""
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        other.kill()
        other.wait()


@contextmanager
def idle() -> Iterator[None]:
    """Do nothing; the machine should be idle."""
    yield


# --- the page ---


def section(
    race: Race, results: dict[str, Result], missing: dict[str, str], others: dict[str, Result]
) -> str:
    """Return the section for a race; goals may refer to `others`, which are not in its table."""
    odd = unlike([*results.values()])
    sound = others | {label: result for label, result in results.items() if label not in odd}
    unit, name = race.unit
    racers = [result for label, result in results.items() if label != PEAK]
    lines = [f"## {race.title}", table(racers, race.baseline, unit=unit, name=name)]
    absent = [f"- {label}: {why}" for label, why in missing.items()]
    goals = [goal.line(sound) for goal in race.goals]
    parts = [
        *lines,
        peaks(results.values()),
        race.note,
        "\n".join([*absent, *goals]),
        stamp(results),
    ]
    return "\n\n".join(part for part in parts if part)


def stamp(results: dict[str, Result]) -> str:
    """Return date, machine and versions of the measurement."""
    heats = max((len(r.measurements) for r in results.values()), default=0)
    load = f"load {os.getloadavg()[0]:.1f} at the end" if hasattr(os, "getloadavg") else ""
    return f"_{date.today()}, {heats} heats, {machine()}, {load}. {', '.join(versions())}._"


def machine() -> str:
    """Return the processor and the number of cores."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = re.search(r"model name\s*: (.*)", text)
    return f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores"


def versions() -> Iterator[str]:
    """Yield the versions of Python and the installed contestants."""
    yield f"Python {platform.python_version()}"
    for name in VERSIONS:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            continue


def write(race: Race, text: str) -> None:
    """Replace one section of the page; the others stay unchanged."""
    before = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    PAGE.write_text(page_of(sections(before) | {marker(race): text}), encoding="utf-8")
    print(f"\n{text}\n", flush=True)


def marker(race: Race) -> str:
    """Return the marker that identifies the section of a race."""
    return f"{race.part} {race.job}".strip()


def sections(page: str) -> dict[str, str]:
    """Return the sections of the page by marker."""
    return dict(re.findall(r"<!-- (.*?) -->\n(.*?)\n<!-- / -->", page, re.DOTALL))


def page_of(texts: dict[str, str]) -> str:
    """Join head and sections in the order of RACES; drop sections of removed races."""
    names = [name for name in map(marker, RACES) if name in texts]
    return HEAD + "".join(f"\n<!-- {name} -->\n{texts[name]}\n<!-- / -->\n" for name in names)


if __name__ == "__main__":
    main()
