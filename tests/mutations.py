"""Strategies for damage: to bytes, and to JSON; each can be printed, and applied to any content.

Places are large numbers, taken modulo what there is, so that one strategy serves every file.
"""

import codecs
import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

place = st.integers(0, 2**20)

# --- bytes ---

TOKENS = (
    *(b"", b"\0", b" ", b"\n", b"\r\n", b"\r", b"\n\n", b"\t", b",", b";", b":", b"/", b"\\"),
    *(b'"', b'""', b"{", b"}", b"[", b"]", b"{}", b"[]", b"'", b"=", b"%", b"#", b"-", b"."),
    *(b"null", b"true", b"NaN", b"-Infinity", b"1e999", b"-1", b"0", b"1e308", b"9" * 400),
    *(b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xc3", "ß日".encode(), b"\x1b[2J"),
    *(b"\\ud800", b"\\u0000", b"\\n", b"[" * 2000, b'{"a":' * 2000, b"9" * 5000, b"x" * 5000),
)
CODINGS = ("utf-8-sig", "utf-16", "utf-16-be", "utf-32", "latin-1", "utf-7", "cp500")
HOWS = ("flip", "flip", "set", "put", "put", "over", "drop", "cut", "twice", "swap", "lines")


@dataclass(frozen=True)
class Edit:
    """One change of some bytes."""

    how: str
    at: int
    size: int = 1
    token: bytes = b""

    def __call__(self, content: bytes) -> bytes:
        """Return the changed content."""
        changed: bytes = getattr(self, f"_{self.how}")(content, self.at % (len(content) + 1))
        return changed

    def _flip(self, content: bytes, at: int) -> bytes:
        return (
            content[:at]
            + bytes(byte ^ 1 << self.size % 8 for byte in content[at : at + 1])
            + (content[at + 1 :])
        )

    def _set(self, content: bytes, at: int) -> bytes:
        return content[:at] + bytes([self.size % 256]) + content[at + 1 :]

    def _put(self, content: bytes, at: int) -> bytes:
        return content[:at] + self.token + content[at:]

    def _over(self, content: bytes, at: int) -> bytes:
        return content[:at] + self.token + content[at + len(self.token) :]

    def _drop(self, content: bytes, at: int) -> bytes:
        return content[:at] + content[at + self.size :]

    def _cut(self, content: bytes, at: int) -> bytes:
        return content[:at]

    def _twice(self, content: bytes, at: int) -> bytes:
        return content[:at] + content[at : at + self.size] * 2 + content[at + self.size :]

    def _swap(self, content: bytes, at: int) -> bytes:
        one, other, after = at, at + self.size, at + 2 * self.size
        return content[:one] + content[other:after] + content[one:other] + content[after:]

    def _lines(self, content: bytes, at: int) -> bytes:
        """Repeat, remove or move a line."""
        lines = content.splitlines(keepends=True) or [b""]
        line = lines.pop(at % len(lines))
        to = self.size % (len(lines) + 1)
        return b"".join([*lines[:to], *[line] * (self.size % 3), *lines[to:]])


@dataclass(frozen=True)
class Recode:
    """The text in another encoding."""

    coding: str

    def __call__(self, content: bytes) -> bytes:
        """Return the changed content."""
        return codecs.encode(content.decode("utf-8", "replace"), self.coding, "replace")


edit = st.builds(
    Edit, st.sampled_from(HOWS), place, st.integers(1, 300), st.sampled_from(TOKENS)
) | st.builds(Edit, st.just("over"), place, st.just(1), st.binary(min_size=1, max_size=8))
edits: st.SearchStrategy[list[Any]] = st.lists(edit, min_size=1, max_size=3) | st.builds(
    list, st.tuples(st.builds(Recode, st.sampled_from(CODINGS)))
)


def edited(content: bytes, these: list[Callable[[bytes], bytes]]) -> bytes:
    """Apply the changes one after another."""
    for one in these:
        content = one(content)
    return content


# --- JSON ---

# What Python's json writes of no value, by what stands for it in a value.
RAW = {
    "@nan": "NaN",
    "@infinity": "-Infinity",
    "@beyond": "1e999",
    "@digits": "9" * 5000,
    "@surrogate": '"\\ud800"',
    "@zero": '"\\u0000"',
    "@twice": '{"a": 1, "a": 2}',
    "@deep": "[" * 800 + "]" * 800,
    "@deeper": '{"a":' * 3000 + "1" + "}" * 3000,
    "@exact": "9007199254740993",
    "@small": "-0.0",
}
leaf = st.one_of(
    st.sampled_from((None, True, False, 0, 1, -1, 2, 3, 10**12, 10**30, 0.5, -1e308, 1e-320)),
    st.sampled_from(
        (float("nan"), float("inf"), "", "a", "nan", "${seed}", "/", "..", "\0", "é\n")
    ),
    st.sampled_from(("regression", "classification", "cpu", "t.csv", "os.system", "1", "[1]")),
    st.sampled_from(([], {}, [0], [1, 1], ["a"], [None], [[]], {"a": 1}, {"a": [{}]}, [0, "a"])),
)
any_leaf = leaf | st.sampled_from((*RAW, "\x1b[2J", "x" * 300, "=1+1", "${oc.env:HOME}"))
Change = tuple[int, str, Any]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) within a nested value."""
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for name, entry in entries:
        yield value, name
        if isinstance(entry, dict | list):
            yield from places(entry)


@st.composite
def changes(draw: st.DrawFn, leaves: st.SearchStrategy[Any] = leaf) -> Change:
    """Where to change a nested value (counted, modulo what there is), how, and to what."""
    how = draw(st.sampled_from(("set", "set", "set", "delete", "rename", "twice")))
    return draw(st.integers(0, 2**16)), how, draw(leaves)


def changed(value: Any, change: Change) -> None:
    """Change a nested value in its place."""
    at, how, other = change
    found = list(places(value))
    if not found:
        return
    container, name = found[at % len(found)]
    if how == "set":
        container[name] = copy.deepcopy(other)  # or changes to come would change the strategy
    elif isinstance(container, list):
        container.append(copy.deepcopy(container[name])) if how == "twice" else container.pop(name)
    else:
        entry = copy.deepcopy(container[name]) if how == "twice" else container.pop(name)
        if how != "delete":
            container["another"] = entry


def dumped(value: Any) -> str:
    """The value as JSON, with the texts of RAW for what stands for them."""
    text = json.dumps(value)
    for name, raw in RAW.items():
        if name in text:
            text = text.replace(json.dumps(name), raw)
    return text


def with_changes(text: str, these: list[Change]) -> str:
    """Return a JSON text after some changes; one that is JSON no more stays as it is."""
    try:
        value = [json.loads(text)]
    except (ValueError, RecursionError):
        return text
    for change in these:
        changed(value, change)
    return dumped(value[0]) if value else ""


json_changes = st.lists(changes(any_leaf), min_size=1, max_size=2)
