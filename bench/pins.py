"""Check that constraints.txt pins every package that mlrun or one of its extras installs.

python bench/pins.py            # asks pip what they need; installs nothing
python bench/pins.py --list     # prints the pins of the plain install, for a bill of materials
"""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
RESOLVE = ("install", "--dry-run", "--ignore-installed", "--report", "-", "-c", "constraints.txt")


def plain(name: str) -> str:
    """Return the normalised name of a package (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned() -> dict[str, str]:
    """Return package → version of constraints.txt."""
    lines = (TOP / "constraints.txt").read_text("utf-8").split()
    return {plain(name): version for name, version in (line.split("==") for line in lines)}


def extras() -> list[str]:
    """Return the names of the optional dependencies."""
    project = tomllib.loads((TOP / "pyproject.toml").read_text("utf-8"))["project"]
    return [*project["optional-dependencies"]]


def needed(extras: Sequence[str] = ()) -> dict[str, str]:
    """Return package → version that pip chooses for the install with these extras."""
    words = (*PIP, *RESOLVE, f".[{','.join(extras)}]" if extras else ".")
    done = subprocess.run(words, cwd=TOP, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"pip cannot resolve the packages:\n{done.stderr[-800:]}")
    packages = (entry["metadata"] for entry in json.loads(done.stdout)["install"])
    found = {plain(one["name"]): str(one["version"]).partition("+")[0] for one in packages}
    return {name: version for name, version in found.items() if name not in ("mlrun-cli", "pip")}


def main() -> int:
    """Print what is not pinned and return 1, or print the pins of the plain install."""
    pins = pinned()
    found = needed(() if sys.argv[1:] == ["--list"] else extras())
    if missing := sorted({*found} - {*pins}):
        print(f"constraints.txt does not pin {', '.join(missing)}", file=sys.stderr)
        return 1
    if sys.argv[1:] == ["--list"]:
        print("\n".join(f"{name}=={pins[name]}" for name in sorted(found)))
    else:
        print(f"all {len(found)} packages of the install and its extras are pinned")
    return 0


if __name__ == "__main__":
    sys.exit(main())
