"""rich's console for safe texts: without secrets and control characters."""

from collections.abc import Iterator
from typing import Any

from rich.console import Console as RichConsole
from rich.segment import Segment

from mlrun.system.plain_text import plain
from mlrun.system.safe_text import safe
from mlrun.system.streams import mute_stdout


class _SafeConsole(RichConsole):
    """Prints safe texts, also in tables and in the progress line."""

    def print(self, *objects: Any, **options: Any) -> None:
        texts = (safe(one) if isinstance(one, str) else one for one in objects)
        super().print(*texts, **options)

    def render(self, *arguments: Any, **options: Any) -> Iterator[Segment]:
        for part in super().render(*arguments, **options):
            yield part if part.control else part._replace(text=plain(part.text))


def plain_console(*, stderr: bool = False, quiet: bool = False) -> RichConsole:
    """Return a console without markup and wrapping that survives a closed pipe."""
    out = _SafeConsole(highlight=False, markup=False, soft_wrap=True, stderr=stderr, quiet=quiet)
    out.on_broken_pipe = mute_stdout  # type: ignore[method-assign]  # rich would exit
    return out
