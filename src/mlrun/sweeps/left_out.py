"""Overrides of a key that only some options of a group have: `optimizer=sgd,adam` and a momentum.

Such an override applies where its key exists. Jobs that become equal without it run once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from omegaconf import OmegaConf

from mlrun.sweeps.points import Composer


@dataclass(frozen=True)
class LeftOut:
    """A key that some jobs lack, and the choices of these jobs."""

    key: str
    has: tuple[str, ...]  # words that select options with the key
    lacks: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{self.key} applies to {', '.join(self.has)}; {', '.join(self.lacks)} has no such key"
        )


def fitted(
    composer: Composer, jobs: Sequence[Sequence[str]]
) -> tuple[list[list[str]], list[LeftOut]]:
    """Leave out overrides of keys that a job lacks and another job has; drop repeated jobs.

    Keys that no job has stay, so that composing reports them.
    """
    choices = [tuple(word for word in job if not composer.is_plain(word)) for job in jobs]
    there: dict[tuple[str, tuple[str, ...]], bool] = {}
    for job, chosen in zip(jobs, choices, strict=True):
        for key in map(_key, job):
            group = key.partition(".")[0]
            if "." in key and any(_key(word) == group for word in chosen):
                there.setdefault((key, chosen), _has(composer, chosen, key))
    found = _left_out(there)
    known = {one.key for one in found}
    kept = [
        [word for word in job if _key(word) not in known or there.get((_key(word), chosen), True)]
        for job, chosen in zip(jobs, choices, strict=True)
    ]
    return list(map(list, dict.fromkeys(map(tuple, kept)))), found


def _left_out(there: dict[tuple[str, tuple[str, ...]], bool]) -> list[LeftOut]:
    found = []
    for key in dict.fromkeys(key for key, _ in there):
        group = key.partition(".")[0]
        has, lacks = (
            dict.fromkeys(
                word
                for (name, chosen), known in there.items()
                for word in chosen
                if name == key and known is wanted and _key(word) == group
            )
            for wanted in (True, False)
        )
        if has and lacks:
            found.append(LeftOut(key, tuple(has), tuple(lacks)))
    return found


def _key(word: str) -> str:
    return word.partition("=")[0]


def _has(composer: Composer, chosen: Sequence[str], key: str) -> bool:
    """Whether the configuration of these options has the key."""
    raw = OmegaConf.create(dict(composer.compose(chosen).raw))
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(raw, parent) if parent else raw
    return OmegaConf.is_dict(node) and name in node
