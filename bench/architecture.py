"""Generate parts of docs/architecture.md from src/mlrun; a test checks that they are current."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parents[1]
PACKAGE = TOP / "src" / "mlrun"
PAGE = TOP / "docs" / "architecture.md"


def _contracts() -> Any:
    """Return the contracts of import-linter."""
    project = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))
    return project["tool"]["importlinter"]["contracts"]


# From the top floor to the ground: each may import what stands after it.
FLOORS = tuple(
    name.strip().removeprefix("mlrun.")
    for layer in _contracts()[0]["layers"]
    for name in layer.split("|")
)
ENTRIES = ("__init__", "__main__")  # doors without a floor of their own


def page(text: str) -> str:
    """Return the page with its generated parts updated from the code.

    Args:
        text: the page as it is; what stands between the marks is replaced.
    """
    for mark, made in (("floor plan", floor_plan()), ("files", files())):
        between = re.compile(rf"(?<=<!-- {mark} -->\n).*?(?=<!-- /{mark} -->)", re.DOTALL)
        assert between.search(text), f"{PAGE}: no part between <!-- {mark} --> marks"
        text = between.sub(lambda _, made=made: made, text)  # type: ignore[misc]
    return text


def floor_plan() -> str:
    """Return a Mermaid flow chart with an arrow for each import between packages.

    An arrow is left out if a longer path of arrows implies it.
    """
    arrows = imports()
    words = {name: re.split("[:;]", _purpose(name))[0] for name in _floors()}
    boxes = [f'  {name}["<b>{name}</b><br/>{text}"]' for name, text in words.items()]
    shown = sorted(_without_shortcuts(arrows), key=_by_floor)
    lines = [f"  {above} --> {below}" for above, below in shown]
    return "\n".join(["```mermaid", "flowchart TD", *boxes, *lines, "```", ""])


def files() -> str:
    """Return a table of files for each package, with the first line of each docstring."""
    parts = []
    for name in _floors():
        place = PACKAGE / name
        if not place.is_dir():
            continue
        rows = [
            f"| [{file.relative_to(place)}](../{file.relative_to(TOP)}) | {_cell(file)} |"
            for file in _files(place)
        ]
        head = [f"### {name}", "", f"{_purpose(name)}.", "", "| file | what |", "| --- | --- |"]
        parts.append("\n".join([*head, *rows, ""]))
    return "\n".join(parts)


def imports() -> set[tuple[str, str]]:
    """Return (package, imported package) for all imports, also inside functions."""
    found = set()
    for file in PACKAGE.rglob("*.py"):
        above = _floor(file.relative_to(PACKAGE).with_suffix("").parts[0])
        for module in _imported(file):
            below = _floor(module)
            if above and below and above != below:
                found.add((above, below))
    return found


def _imported(file: Path) -> Iterator[str]:
    """Yield the first name after `mlrun.` of all imports from mlrun in a file."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("mlrun."))


def _floor(name: str) -> str:
    """Return the package or module with this name; an empty text for other names."""
    there = (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file()
    return name if there and name not in ENTRIES else ""


def _floors() -> list[str]:
    """Return the packages from top to bottom.

    Raises:
        ValueError: a package that is in no layer of pyproject.toml's first contract.
    """
    there = {_floor(path.stem) for path in PACKAGE.iterdir() if path.suffix in ("", ".py")} - {""}
    there.discard("__pycache__")
    if odd := sorted(there - {*FLOORS}):
        raise ValueError(f"src/mlrun/{odd[0]} is in no layer of pyproject.toml")
    return [name for name in FLOORS if name in there]


def _without_shortcuts(arrows: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Drop arrows that a longer path of downward arrows implies."""
    down = {arrow for arrow in arrows if _by_floor(arrow)[0] < _by_floor(arrow)[1]}
    return {
        (above, below)
        for above, below in arrows
        if not any((above, other) in down and _leads(other, below, down) for other in FLOORS)
    }


def _leads(above: str, below: str, arrows: set[tuple[str, str]]) -> bool:
    """Whether arrows lead from one to the other."""
    return any(
        other == below or _leads(other, below, arrows) for start, other in arrows if start == above
    )


def _by_floor(arrow: tuple[str, str]) -> tuple[int, int]:
    return FLOORS.index(arrow[0]), FLOORS.index(arrow[1])


def _purpose(name: str) -> str:
    """Return the first line of a package's docstring without the full stop."""
    place = PACKAGE / name
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    return _first_line(file).rstrip(".")


def _files(place: Path) -> list[Path]:
    """Return the source files of a package; files of its subpackages come last."""
    sources = [file for suffix in ("py", "cpp", "h") for file in place.rglob(f"*.{suffix}")]
    named = [file for file in sources if file.name != "__init__.py" or file.parent != place]
    return sorted(named, key=lambda file: (len(file.parts), file))


def _first_line(file: Path) -> str:
    """Return the first line of a docstring, or of the first comment of a C++ file."""
    text = file.read_text(encoding="utf-8")
    if file.suffix != ".py":
        return next(line for line in text.splitlines() if line.startswith("//")).lstrip("/ ")
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring, f"{file} has no docstring"
    return docstring.splitlines()[0]


def _cell(file: Path) -> str:
    return _first_line(file).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
