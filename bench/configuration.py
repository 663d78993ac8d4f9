"""Generates docs/configuration.md from conf/ and its comments; a test checks that it is current."""

from pathlib import Path

from mlrun.config.options import CONF, GROUPS, options

PAGE = Path(__file__).resolve().parents[1] / "docs" / "configuration.md"
HEAD = """\
# Configuration

`make docs` generates this page from `conf/`. `GROUP=OPTION` selects an option (`model=cnn`);
`KEY=VALUE` sets a value (`model.dropout=0.5`, `'model.hidden=[64,32]'`). The command line overrides
the experiment, and the experiment overrides the task. A task selects options and sets trainer
values; it never changes values inside another group, so `optimizer=sgd` always means the numbers
below.

Put your own options into `./conf/GROUP/NAME.yaml`; they are added to these and cannot replace one.
"""


def page() -> str:
    """Return the text of the page."""
    parts = [HEAD, _file("config.yaml", "Top level")]
    for group in GROUPS:
        parts.append(f"## {group}\n")
        parts += [
            _file(f"{group}/{option}.yaml", f"`{group}={option}`") for option in options(group)
        ]
    return "\n".join(parts)


def _file(name: str, title: str) -> str:
    text = (CONF / name).read_text(encoding="utf-8").strip()
    return f"### {title}\n\n```yaml\n{text}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
