"""Writes docs/configuration.md from conf/ and its comments; a test keeps the page current."""

from pathlib import Path

from mlrun.config.options import CONF, GROUPS, options

PAGE = Path(__file__).resolve().parents[1] / "docs" / "configuration.md"
HEAD = """\
# What can be set

Made by `make docs` from `conf/`. An option is chosen with `GROUP=OPTION` (`model=cnn`), a value set
with `KEY=VALUE` (`model.dropout=0.5`, `'model.hidden=[64,32]'`). Command line beats experiment,
experiment beats task. A task chooses options and sets trainer values; it never writes into a group
that you may swap, so `optimizer=sgd` always means the numbers below.

Options of your own go to `./conf/GROUP/NAME.yaml`; they add to these and shadow none.
"""


def page() -> str:
    """The whole page."""
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
