"""A stand-in for a Wazuh 4.14 installation: same paths, commands, ports, formats, behaviour.

It is no Wazuh: it detects nothing. Where a real installation is at hand, that is run instead.
"""

from .builder import build

__all__ = ["build"]
