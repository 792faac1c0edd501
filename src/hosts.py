"""What counts as a host in what people and other applications give."""

import ipaddress
import re

_NAME = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9-]{1,63})*"
)


def is_host(text: str) -> bool:
    """Tell whether it is a name as DNS has it, or an address (IPv6 without brackets)."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return bool(_NAME.fullmatch(text))
    # A zone may hold any text, and means nothing on another machine.
    return "%" not in text
