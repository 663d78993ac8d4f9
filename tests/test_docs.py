"""What README, CHANGELOG and the code say of each other."""

import re
import sys
import tomllib
from pathlib import Path

from mlrun import __version__

TOP = Path(__file__).resolve().parents[1]
TERM = re.compile(r"\*\*([^*]+)\*\*(?=[:,])")
PAGES = (*TOP.glob("*.md"), *(TOP / "docs").glob("*.md"), TOP / "data" / "README.md")


def test_the_readme_is_short():
    assert len((TOP / "README.md").read_text().splitlines()) <= 150


def test_every_local_link_and_picture_of_the_docs_exists():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_configuration_page_agrees_with_conf():
    sys.path.insert(0, str(TOP / "bench"))
    from configuration import page

    assert (TOP / "docs" / "configuration.md").read_text(encoding="utf-8") == page()


def test_the_architecture_page_agrees_with_the_code():
    sys.path.insert(0, str(TOP / "bench"))
    from architecture import PAGE, page

    written = PAGE.read_text(encoding="utf-8")
    assert written == page(written), "make docs"


def test_every_file_that_the_architecture_page_and_contributing_name_exists():
    places = (TOP / "src" / "mlrun", TOP / "src" / "mlrun" / "training" / "engines", TOP)
    for page in (TOP / "docs" / "architecture.md", TOP / "CONTRIBUTING.md"):
        for name in re.findall(r"`([\w./]+(?:/|\.(?:py|cpp|yaml|md)))`", page.read_text()):
            if "NAME" not in name:
                assert any((place / name).exists() for place in places), f"{page.name}: {name}"


def test_the_index_of_the_docs_lists_every_page():
    index = (TOP / "docs" / "README.md").read_text()
    for page in PAGES:
        if page.parent == TOP / "docs" and page.name != "README.md":
            assert f"]({page.name})" in index


def test_every_make_target_that_contributing_names_exists():
    targets = re.findall(r"`make ([a-z-]+)[ `]", (TOP / "CONTRIBUTING.md").read_text())
    makefile = (TOP / "Makefile").read_text()
    assert targets
    assert [t for t in targets if not re.search(rf"^{t}:", makefile, re.MULTILINE)] == []


def test_every_term_of_the_glossary_is_explained_once():
    text = (TOP / "docs" / "glossary.md").read_text()
    terms = [term for line in re.findall(r"^\*\*.+", text, re.M) for term in TERM.findall(line)]
    assert len(terms) == len({*terms}) > 50


def test_the_source_distribution_names_files_that_exist():
    project = tomllib.loads((TOP / "pyproject.toml").read_text())
    listed = project["tool"]["hatch"]["build"]["targets"]["sdist"]["only-include"]
    assert {*project["project"]["license-files"]} <= {*listed}
    assert [name for name in listed if not (TOP / name).exists()] == []


def test_the_changelog_starts_with_this_version():
    first = re.search(r"^## \[([\d.]+)\]", (TOP / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first is not None
    assert first[1] == __version__


def test_every_make_target_is_explained_in_the_help():
    text = (TOP / "Makefile").read_text()
    targets = set(re.findall(r"^\.PHONY: (.+)$", text, re.MULTILINE)[0].split())
    assert targets == set(re.findall(r"^([a-z-]+):.*## ", text, re.MULTILINE))
