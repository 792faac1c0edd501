"""Values in what others send or wrote down, checked."""

from __future__ import annotations

import re
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
