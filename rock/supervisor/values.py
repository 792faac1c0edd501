"""Values in what others send or wrote down, checked."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Mapping


def text(content: Mapping[str, object], name: str, pattern: re.Pattern[str]) -> str:
    """Return a text of this form. Raises KeyError, ValueError."""
    value = content[name]
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError(name)
    return value


def number(value: object) -> int:
    """Return a whole number that any reader of JSON holds exactly. Raises ValueError."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise ValueError("number")
    return value


def pack(content: bytes) -> str:
    """Write any bytes as a short text."""
    return base64.b64encode(zlib.compress(content, 9)).decode()


def unpack(text: str, limit: int) -> bytes:
    """Read what `pack` wrote, of so many bytes at most. Raises ValueError."""
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(base64.b64decode(text, validate=True), limit)
    except zlib.error:
        raise ValueError("not packed") from None
    if not unpacker.eof:
        raise ValueError("too large or not whole")
    return content
