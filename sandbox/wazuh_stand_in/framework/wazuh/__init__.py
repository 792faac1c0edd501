"""The stand-in's `wazuh` package: the few names of the real one that others import."""

from pathlib import Path

WAZUH_PATH = Path(__file__).absolute().parents[2]
"""Home of this installation (`/var/ossec`), found from where this package lies."""

__version__ = "4.14.7"
