"""What README, CHANGELOG and the code say of each other."""

import re
import sys
from pathlib import Path

from mlrun import __version__

TOP = Path(__file__).resolve().parents[1]


def test_the_readme_is_short():
    assert len((TOP / "README.md").read_text().splitlines()) <= 150


def test_every_local_link_and_picture_of_the_docs_exists():
    for page in (TOP / "README.md", *(TOP / "docs").glob("*.md"), TOP / "CHANGELOG.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_configuration_page_is_what_conf_says():
    sys.path.insert(0, str(TOP / "bench"))
    from configuration import page

    assert (TOP / "docs" / "configuration.md").read_text(encoding="utf-8") == page()


def test_the_changelog_starts_with_this_version():
    first = re.search(r"^## \[([\d.]+)\]", (TOP / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first is not None
    assert first[1] == __version__


def test_every_make_target_is_explained_in_the_help():
    text = (TOP / "Makefile").read_text()
    targets = set(re.findall(r"^\.PHONY: (.+)$", text, re.MULTILINE)[0].split())
    assert targets == set(re.findall(r"^([a-z-]+):.*## ", text, re.MULTILINE))
