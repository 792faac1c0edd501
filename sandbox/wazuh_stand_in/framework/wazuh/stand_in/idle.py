"""Daemons of which only presence matters: execd, monitord, syscheckd and others."""

from . import configuration
from .home import Home
from .process import NEEDS_CONFIGURATION, stopping

SECTIONS = {
    "wazuh-agentlessd": "agentless",
    "wazuh-csyslogd": "syslog_output",
    "wazuh-integratord": "integration",
}


def check(home: Home) -> bool:
    """Return whether the configuration asks for this daemon."""
    settings = configuration.read(home / "etc/ossec.conf")
    if home.daemon not in NEEDS_CONFIGURATION:
        return True
    if home.daemon == "wazuh-maild":
        return settings.value("global", "email_notification", "no") == "yes"
    return settings.find(SECTIONS[home.daemon]) is not None


def serve(_home: Home) -> int:
    """Wait for the end."""
    stopping.wait()
    return 0
