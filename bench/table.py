"""Turn measurements into Markdown: medians, spread, ratios, goals."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

TOLERANCE = 0.1  # allowed relative difference of the best validation loss


@dataclass(frozen=True)
class Measurement:
    """The measurement that one process of a contestant reported."""

    seconds: float  # of the measured epochs
    steps: int
    whole: float = 0.0  # from the start of the process to its end
    score: float | None = None  # best validation loss of the first epochs (same number for all)
    flops: float = 0.0  # operations per second, if counted


@dataclass(frozen=True)
class Result:
    """All measurements of one contestant."""

    label: str
    measurements: Sequence[Measurement]

    @property
    def per_step(self) -> list[float]:
        """Seconds per step, one number per process."""
        return [m.seconds / m.steps for m in self.measurements]

    @property
    def median(self) -> float:
        """Median seconds per step."""
        return statistics.median(self.per_step)

    @property
    def whole(self) -> float:
        """Median seconds of a process."""
        return statistics.median(m.whole for m in self.measurements)

    @property
    def score(self) -> float | None:
        """Median score."""
        scores = [m.score for m in self.measurements if m.score is not None]
        return statistics.median(scores) if scores else None


@dataclass(frozen=True)
class Goal:
    """`of` must take at least `least` times as long as `than`."""

    than: str
    of: str
    least: float

    def line(self, results: Mapping[str, Result]) -> str:
        """Return a line for the list of goals; `results` has only comparable contestants."""
        wanted = f"{self.than}: at least {self.least:g} times as fast as {self.of}"
        if self.least < 1:
            wanted = f"{self.than}: at most {1 / self.least:.3g} times as slow as {self.of}"
        if missing := [label for label in (self.than, self.of) if label not in results]:
            return f"- **not measured** {wanted} ({', '.join(missing)} is missing)"
        factor = results[self.of].median / results[self.than].median
        speed = (
            f"{factor:.3g} times as fast" if self.least >= 1 else f"{1 / factor:.3g} times as slow"
        )
        return f"- {'met' if factor >= self.least else '**missed**'} {wanted}: {speed}"


def table(
    results: Iterable[Result], baseline: str, *, unit: float = 1e-6, name: str = "µs per step"
) -> str:
    """Return a Markdown table, slowest first: median, spread, speed relative to the baseline."""
    ordered = sorted(results, key=lambda result: -result.median)
    base = next((r.median for r in ordered if r.label == baseline), None)
    odd = unlike(ordered)
    lines = [
        f"| contestant | {name}, median | min – max | × {baseline} | best loss | process, s |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for result in ordered:
        low, high = (shown(x / unit) for x in (min(result.per_step), max(result.per_step)))
        factor = f"{base / result.median:.3g}" if base else "–"
        score = "–" if result.score is None else f"{result.score:.4f}"
        mark = " **not comparable**" if result.label in odd else ""
        lines.append(
            f"| {result.label} | {shown(result.median / unit)} | {low} – {high} | {factor} "
            f"| {score}{mark} | {result.whole:.1f} |"
        )
    return "\n".join(lines)


def peaks(results: Iterable[Result]) -> str:
    """Return operations per second, and their share of the fastest (the matrix product)."""
    counted = {
        result.label: statistics.median(m.flops for m in result.measurements)
        for result in results
        if any(m.flops for m in result.measurements)
    }
    peak = max(counted.values(), default=0.0)
    return "\n".join(
        f"- {label}: {flops / 1e9:.1f} GFLOP/s, {flops / peak:.2f} of the peak"
        for label, flops in counted.items()
    )


def unlike(results: Sequence[Result]) -> set[str]:
    """Return the contestants whose loss differs from the others': they did other work."""
    scores = {r.label: r.score for r in results if r.score is not None}
    if not scores:
        return set()
    middle = statistics.median(scores.values())
    return {k for k, score in scores.items() if not abs(score - middle) <= TOLERANCE * middle}


def shown(value: float) -> str:
    """Format with about three digits, without an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
