"""Control characters in texts from data, configurations and file names, written out as \\x1b.

A terminal obeys them: they move the cursor, write the clipboard, and turn the direction of a line.
"""

import re

# C0 (but tab and the ends of lines), DEL, C1; marks that turn or break a line; halves of characters
_CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ud800-\udfff]"
    "|\r(?!\n)"
)


def plain(text: str) -> str:
    """Return the text with control characters written out; tabs and ends of lines stay."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def one_line(value: object) -> str:
    """Return the value as text on one line, for a line with other texts."""
    text = plain(str(value))
    return text.replace("\r", "\\r").replace("\n", "\\n").replace("\t", "\\t")


def plain_json(text: str) -> str:
    r"""Return JSON with control characters in JSON's own spelling, \u001b: its values stay."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
