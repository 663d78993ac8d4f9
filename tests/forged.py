"""Checkpoint files that mlrun would not write, with the checksum that makes it read them."""

import json
import struct
import zlib

MAGIC = b'{"__metadata__":{"mlrun checkpoint 2, CRC-32":"'
AFTER = 8 + len(MAGIC) + 8  # the length of the header, its beginning, the checksum


def sealed(content: bytes) -> bytes:
    """The content with the checksum that fits it."""
    rest = content[AFTER:]
    return content[:8] + MAGIC + b"%08x" % zlib.crc32(rest, zlib.crc32(content[:8])) + rest


def forged(
    values: str, tensors: str = "", data: bytes = b"", *, length: int | None = None
) -> bytes:
    """A checkpoint file.

    Args:
        values: the JSON of everything but tensors.
        tensors: the other entries of the header, as JSON without braces.
        data: the bytes of those tensors.
        length: the length of the header according to the file; default: the true one.
    """
    text = values.encode()
    place = [len(data), len(data) + len(text)]
    own = json.dumps({"dtype": "U8", "shape": [len(text)], "data_offsets": place})
    rest = f'"}},{tensors}{"," if tensors else ""}"values.json":{own}}}'.encode()
    size = struct.pack("<Q", AFTER - 8 + len(rest) if length is None else length)
    return sealed(size + bytes(AFTER - 8) + rest + data + text)


def entry(name: str, dtype: str, shape: list[int], start: int, stop: int) -> str:
    """One tensor's entry in a header."""
    return f'"{name}":' + json.dumps(
        {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}
    )
