"""Digests: plain ones of files, keyed ones of anything a person may have chosen.

A keyed digest may stand in a databag or in Pebble's plan: without the key nobody can try guesses.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence

Value = None | bool | int | str | Sequence["Value"] | Mapping[str, "Value"]


def plain(content: bytes) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def keyed(key: str, value: Value) -> str:
    """Return a digest of any JSON value under a key; equal values give equal digests."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()[:32]
