"""The encoding of a text file: a mark at its start, zero bytes, valid UTF-8, or a good guess."""

import codecs
import re

from mlrun.data.findings import Finding

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark is a part of it
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
EUC = ("gb18030", "cp949", "euc_jp", "big5")  # characters of two bytes, both above 127
OTHERS = ("cp932", "cp1251", "koi8_r", "cp1253", "cp1255", "cp1256", "cp874")
ALPHABETS = {"cp1251": "Cyrillic", "koi8_r": "Cyrillic"}
SURE = 20.0  # percent of disorder, charset-normalizer's measure, that is still text
MARGIN = 4.0  # by which the second best must be worse
PORTUGUESE = re.compile(rb"[\xc7\xe7][\xc3\xd5\xe3\xf5]")  # ção, ções: two accents in a row
ENOUGH = 100_000  # bytes of lines that are not ASCII


def detect_encoding(sample: bytes) -> str | None:
    """Return the encoding of a file that starts with `sample`; None: it cannot be determined."""
    for mark, name in MARKS:
        if sample.startswith(mark):
            return name
    if (wide := _two_bytes_each(sample)) is not None:
        return wide
    return "utf-8" if is_valid(sample, "utf-8") else guess(sample)


def encoding_finding(name: str) -> Finding | None:
    """Return what to print of an encoding; None for UTF-8."""
    if name.replace("_", "-").lower() in ("utf-8", "utf-8-sig", "utf8", "ascii"):
        return None
    return Finding("encoding", name, "data.encoding=…")


def is_valid(sample: bytes, encoding: str) -> bool:
    """Whether the sample is text of that encoding; it may end within a character."""
    try:
        codecs.getincrementaldecoder(encoding)().decode(sample, final=False)
    except (UnicodeDecodeError, UnicodeError):
        return False
    return True


def _two_bytes_each(sample: bytes) -> str | None:
    """UTF-16 without a mark: line ends, digits and separators have a zero byte each."""
    if b"\0" not in sample:
        return None
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    name = "utf-16-le" if odd > even else "utf-16-be"
    few, many = sorted((even, odd))
    if many < max(4, len(sample) / 20) or few > many / 20 or not is_valid(sample, name):
        return None
    text = codecs.getincrementaldecoder(name)().decode(sample, final=False)
    return name if re.search(r"[\r\n]", text) and "\0" not in text else None


def guess(sample: bytes) -> str | None:
    """Return the encoding of text with bytes above 127 that is not UTF-8; None if unsure."""
    odd = dict.fromkeys(re.findall(rb"[^\r\n]*[\x80-\xff][^\r\n]*", sample))
    lines = b"\n".join(odd)[:ENOUGH]
    western = PORTUGUESE.sub(b"\xe3", lines).replace(b"\xa0", b" ")  # 1 000 € with fixed blanks
    lengths = [len(run) for run in re.findall(rb"[\x80-\xff]+", western)]
    if not lengths or b"\0" in sample:
        return None
    if sum(length == 1 for length in lengths) >= 0.75 * len(lengths):  # accents within words
        return _western(lines)
    even = sum(length % 2 == 0 for length in lengths) >= 0.98 * len(lengths)
    return (_by_statistics(lines, EUC) if even else None) or _by_statistics(lines, EUC + OTHERS)


def _western(lines: bytes) -> str:
    """Western or Central European; prefer Western unless that puts signs within words."""
    names = [name for name in ("cp1252", "cp1250") if is_valid(lines, name)]
    return min(
        names, key=lambda name: _signs_in_words(lines.decode(name, "ignore")), default="latin-1"
    )


def _signs_in_words(text: str) -> int:
    return len(re.findall(r"[^\W\d_][^\w\x00-\x7f]|[^\w\x00-\x7f][^\W\d_]", text))


def _by_statistics(lines: bytes, encodings: tuple[str, ...]) -> str | None:
    from charset_normalizer import from_bytes

    found = from_bytes(lines, cp_isolation=[*encodings], enable_fallback=False)
    ranked = sorted((m.percent_chaos, -m.percent_coherence, m.encoding) for m in found)
    if not ranked or ranked[0][0] > SURE:
        return None
    (chaos, coherence, name), *rest = ranked
    close = [r for r in rest if r[0] - chaos < MARGIN and r[1] - coherence < MARGIN]
    return name if not close else None
