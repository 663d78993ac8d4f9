"""What to write instead of words that other programs have: `--epochs 10` → `trainer.epochs=10`."""

from collections.abc import Sequence
from dataclasses import fields

import yaml

from mlrun.config.options import CONF, GROUPS, options
from mlrun.config.schema import Settings, Trainer
from mlrun.errors import did_you_mean

# Names from other programs.
_MEANT = {
    "batch": "trainer.batch_size",
    "bs": "trainer.batch_size",
    "config": "experiment",
    "early_stopping": "trainer.patience",
    "gpu": "device=cuda",
    "cuda": "device=cuda",
    "cpu": "device=cpu",
    "learning_rate": "optimizer.lr",
    "max_epochs": "trainer.epochs",
    "metrics": "metric",
    "n_epochs": "trainer.epochs",
    "num_epochs": "trainer.epochs",
    "output": "hydra.run.dir",
    "output_dir": "hydra.run.dir",
    "out": "hydra.run.dir",
    "dataset": "task",
    "target": "data.target",
    "train": "data.train",
}
# Of each group, the keys of its options are looked through in this order.
_GROUPS_WITH_KEYS = ("optimizer", "model", "data", "scheduler", "loss")


def full_key(name: str) -> str:
    """Return the key or group that a name means, `trainer.epochs` for `epochs`; empty if none."""
    name = name.lstrip("-").replace("-", "_")
    keys = known_keys()
    if name in keys:
        return name
    if name in _MEANT:
        return _MEANT[name]
    within = [key for key in keys if key.rpartition(".")[2] == name]
    return within[0] if within else ""


def known_keys() -> list[str]:
    """Return the keys of the fixed parts and of mlrun's options."""
    found = [*GROUPS, *(field.name for field in fields(Settings))]
    found += [f"trainer.{field.name}" for field in fields(Trainer)]
    for group in _GROUPS_WITH_KEYS:
        for file in sorted((CONF / group).glob("*.yaml")):
            values = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
            found += [f"{group}.{key}" for key in values if key[0] != "_" and key != "defaults"]
    return list(dict.fromkeys(found))


def instead_of(name: str, value: str = "…") -> str:
    """Return the override to write instead of an option or word; empty if none is known.

    Args:
        name: `--epochs`, `epochs`, or the name of a task; only an option may be misspelt.
        value: what followed it.
    """
    key = full_key(name)
    if "=" in key:
        return key
    if key:
        return f"{key}={value or '…'}"
    for group in ("task", "experiment", "model"):
        if name in options(group):
            return f"{group}={name}"
    if not name.startswith("-"):
        return ""
    similar = did_you_mean(name.lstrip("-").replace("-", "_"), known_keys())
    return f"{similar.split(chr(39))[1]}={value or '…'}" if similar else ""


def value_after(words: Sequence[str], position: int) -> str:
    """Return the value of an option: after its `=`, or the next word if it is a plain one."""
    own = words[position].partition("=")[2]
    following = words[position + 1] if position + 1 < len(words) else ""
    plain = following and not following.startswith("-") and "=" not in following
    return own or (following if plain else "")
