"""`python -m sandbox.wazuh_stand_in FOLDER`: lay the stand-in's tree there."""

import argparse
import sys
from pathlib import Path

from .builder import build


def main() -> int:
    """Lay the tree and say so."""
    parser = argparse.ArgumentParser(prog="wazuh_stand_in", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", type=Path, default=Path(sys.executable))
    parser.add_argument("--owner", help="UID:GID of wazuh where the tree will run")
    arguments = parser.parse_args()
    owner = None
    if arguments.owner:
        user, group = arguments.owner.split(":")
        owner = int(user), int(group)
    build(arguments.folder, arguments.python, owner=owner)
    print(f"the Wazuh stand-in lies in {arguments.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
