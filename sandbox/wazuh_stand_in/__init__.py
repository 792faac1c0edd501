"""A stand-in for a Wazuh 4.14 installation: same paths, commands, ports, formats, behaviour.

It is no Wazuh: it detects nothing, and its nodes talk to each other in a way of their own. Where
a real installation is at hand, that is run instead.

`build(folder, python)` lays the tree; its daemons need a POSIX shell, ps, awk, openssl and that
Python's standard library. Environment they read: WAZUH_SERVER_TIME_SCALE (1 or more) divides
every delay; WAZUH_STAND_IN_WRITE_SECONDS is how long authd's writer is busy between two looks.
"""

from .builder import build

__all__ = ["build"]
