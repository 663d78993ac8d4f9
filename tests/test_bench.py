"""The benchmark's arithmetic and page; the contestants themselves run in `make bench`."""

import sys
from importlib import import_module
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[1] / "bench"
sys.path[:0] = [str(BENCH), str(BENCH / "peers")]

from races import RACES  # noqa: E402
from run import Missing, answer_of, as_a_whole, marker, page_of, sections  # noqa: E402
from table import Goal, Measurement, Result, peaks, table, unlike  # noqa: E402


def result(label, *seconds, score=None, flops=0.0):
    return Result(label, [Measurement(s, 10, s + 2, score, flops) for s in seconds])


SLOW, FAST = result("slow", 9.0, 10.0, 50.0), result("fast", 1.0, 2.0, 3.0)


def test_a_row_has_the_median_the_spread_and_the_ratio_of_the_medians():
    *_, slow, fast = table([FAST, SLOW], "slow", unit=1, name="s").splitlines()
    assert slow.startswith("| slow | 1 | 0.9 – 5 | 1 |")
    assert fast.startswith("| fast | 0.2 | 0.1 – 0.3 | 5 |")


def test_a_table_without_its_baseline_has_no_ratios():
    assert table([FAST], "slow").splitlines()[-1].split("|")[4].strip() == "–"


@pytest.mark.parametrize(
    ("least", "start"), [(5, "- met"), (5.1, "- **missed**"), (0.5, "- met fast: at most 2 times")]
)
def test_a_goal_is_reported_as_met_or_missed(least, start):
    assert Goal("fast", "slow", least).line({"slow": SLOW, "fast": FAST}).startswith(start)


def test_a_goal_without_its_contestant_is_not_measured():
    assert "**not measured**" in Goal("fast", "slow", 5).line({"fast": FAST})


def test_a_contestant_with_another_score_is_marked():
    results = [result(str(score), 1.0, score=score) for score in (0.20, 0.21, 0.205, 0.9)]
    nan = result("nan", 1.0, score=float("nan"))
    assert unlike([*results, nan, result("none", 1.0)]) == {"0.9", "nan"}
    assert "**not comparable**" in table(results, "0.2")


def test_peaks_are_shares_of_the_fastest():
    lines = peaks([result("kernel", 1.0, flops=3e9), result("product", 1.0, flops=4e9), SLOW])
    assert lines.splitlines()[0] == "- kernel: 3.0 GFLOP/s, 0.75 of the peak"
    assert len(lines.splitlines()) == 2


def test_a_whole_job_is_scaled_but_not_its_start():
    assert as_a_whole(Measurement(2.0, 10, 5.0), steps=100).seconds == 3.0 + 20.0


def test_a_section_replaces_its_older_self_and_no_other():
    page = page_of({"cnn mnist_cnn": "PICTURES", "covid covid": "OLD", "gone": "GONE"})
    page = page_of(sections(page) | {"covid covid": "NEW"})
    assert "OLD" not in page
    assert "GONE" not in page
    assert page.index("NEW") < page.index("PICTURES")


def test_every_race_has_its_own_section():
    assert len({marker(race) for race in RACES}) == len(RACES)


def test_a_contestant_that_is_not_installed_is_reported(workdir):
    words = [sys.executable, "-c", "import no_such_peer"]
    with pytest.raises(Missing, match="no_such_peer is not installed here"):
        answer_of(words, None, workdir)


def test_every_contestant_and_every_side_of_a_goal_exists():
    measured = {"mlrun's kernel", "specialised kernel", "mlrun native, both cores free"}
    for race in RACES:
        labels = {entry.label for entry in race.entries} | measured
        assert {label for goal in race.goals for label in (goal.than, goal.of)} <= labels
        for entry in race.entries if race.job else []:
            assert (BENCH / "peers" / f"{entry.script}.py").exists(), entry.script


def test_every_phase_of_a_command_is_a_function_of_today():
    phases = import_module("phases")
    for path, name in [*phases.PHASES, *phases.OF_MEMBERS]:
        assert callable(getattr(phases.owner_of(path), name))
