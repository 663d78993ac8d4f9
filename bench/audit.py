"""Report known vulnerabilities of the pinned packages; needs pip-audit and a network.

python bench/audit.py     # exit code 1: a vulnerability, or nothing could be looked up
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parents[1]
AUDIT = ("pip_audit", "--no-deps", "--disable-pip", "--progress-spinner=off", "--format=json")


def looked_up() -> list[dict[str, Any]]:
    """Return the packages that the advisory database knows."""
    words = (sys.executable, "-m", *AUDIT, "-r", str(TOP / "constraints.txt"))
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    try:
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except ValueError:
        last = done.stderr.strip().splitlines()[-1:] or ["no answer"]
        sys.exit(f"nothing was audited: {last[0]}")
    return [package for package in packages if "skip_reason" not in package]


def main() -> int:
    """Print a line for each vulnerability, and the number of packages."""
    packages = looked_up()
    if not packages:
        print("nothing was audited: the advisory database cannot be reached")
        return 1
    found = [(one, entry) for one in packages for entry in one["vulns"]]
    for one, entry in found:
        fixed = ", ".join(entry["fix_versions"]) or "no version yet"
        print(f"{one['name']} {one['version']}: {entry['id']}, fixed in {fixed}")
    print(f"{len(packages)} packages looked up, {len(found)} vulnerabilities known")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
