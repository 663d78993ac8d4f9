"""List the options of each group with their descriptions."""

from pathlib import Path

from mlrun.errors import MlrunError, did_you_mean
from mlrun.system.plain_text import one_line

GROUPS = (
    "task",
    "data",
    "model",
    "loss",
    "optimizer",
    "scheduler",
    "metric",
    "trainer",
    "experiment",
    "debug",
    "hparams",
)
_package = Path(__file__).resolve().parents[1]
# The wheel has conf/ inside the package; a checkout has it at the top of the repository.
_CANDIDATES = (_package / "conf", _package.parents[1] / "conf")
CONF = next(folder for folder in _CANDIDATES if (folder / "config.yaml").is_file())


def own_conf() -> Path | None:
    """Return the user's configuration folder, ./conf, unless it is mlrun's own."""
    folder = Path.cwd() / "conf"
    return folder if folder.is_dir() and folder.resolve() != CONF.resolve() else None


def options(group: str) -> dict[str, str]:
    """Return option → description, from mlrun's conf/ and ./conf; mlrun's wins, as in Hydra."""
    found: dict[str, str] = {}
    for folder in (CONF, own_conf()):
        files = sorted((folder / group).glob("*.yaml")) if folder else []
        for file in filter(Path.is_file, files):
            inside = folder is not None and file.resolve().is_relative_to(folder.resolve())
            if inside:  # Hydra takes no link that leads elsewhere, either
                found.setdefault(file.stem, _first_comment(file))
    return found


def _first_comment(file: Path) -> str:
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    comments = (line for line in lines if line.startswith("#") and "@package" not in line)
    return one_line(next(comments, "#").lstrip("# "))


def listing(group: str | None) -> str:
    """Return the text of `mlrun ls` for one group or for all groups.

    Raises:
        MlrunError: the group does not exist.
    """
    if group is None:
        return "\n\n".join(f"{name}=\n{_lines(name)}" for name in GROUPS if options(name))
    if group not in GROUPS:
        raise MlrunError(f"no group '{group}': {', '.join(GROUPS)}.{did_you_mean(group, GROUPS)}")
    return _lines(group)


def _lines(group: str) -> str:
    found = {one_line(name): text for name, text in options(group).items()}
    width = max(map(len, found), default=0)
    return "\n".join(f"  {name:<{width}}  {text}".rstrip() for name, text in found.items())
