"""wazuh-keystore: keeps the indexer's credentials (src/shared_modules/keystore).

The real store is a database that is only disguised; this one is a JSON file, and says so.
"""

import json
import os
import sys

from .home import Home

STORE = "queue/keystore/stand-in.json"


def command(home: Home, arguments: "list[str]") -> int:
    """Take `-f FAMILY -k KEY`, and the value as the first line of standard input."""
    options = dict(zip(arguments[::2], arguments[1::2], strict=False))
    family, key = options.get("-f"), options.get("-k")
    if not family or not key or "-v" in options:
        print("wazuh-keystore: stand-in: takes -f, -k and standard input alone", file=sys.stderr)
        return 1
    value = sys.stdin.readline().rstrip("\n")
    if not value:
        print("Error reading from stdin.", file=sys.stderr)
        return 1
    path = home / STORE
    content = read(home)
    content.setdefault(family, {})[key] = value
    draft = path.with_suffix(".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file)
    draft.replace(path)
    return 0


def read(home: Home) -> "dict[str, dict[str, str]]":
    """Return what is stored, by family and key."""
    try:
        return json.loads((home / STORE).read_text())
    except FileNotFoundError:
        return {}
