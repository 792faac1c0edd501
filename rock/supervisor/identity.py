"""Mutual TLS between the units: one certificate for all, good for nothing else.

Units get a renewed one at different moments, so what counts is who issued it and for what name:
the authority is the application's own, and issues that name to nobody else.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

#: The name in the certificate; every unit has the same.
NAME = "peer.wazuh-server.internal"


class IdentityError(Exception):
    """There is no usable peer certificate."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A unit's side of the channel."""

    server: ssl.SSLContext
    client: ssl.SSLContext

    def recognises(self, stream: ssl.SSLSocket) -> bool:
        """Tell whether the other side showed a unit's certificate: the CA's others do not do."""
        return (stream.getpeercert() or {}).get("subjectAltName") == (("DNS", NAME),)


def load(orders: Path) -> Identity:
    """Read authority, certificate and key. Raises IdentityError."""
    folder = orders / "peer"
    try:
        server = _context(ssl.PROTOCOL_TLS_SERVER, folder)
        client = _context(ssl.PROTOCOL_TLS_CLIENT, folder)
    except (OSError, ValueError) as error:
        raise IdentityError(
            f"the peer certificate cannot be used: {type(error).__name__}"
        ) from None
    return Identity(server, client)


def stamp(orders: Path) -> tuple[int, ...]:
    """Tell one set of files from the next, without reading them."""
    names = ("ca.crt", "peer.crt", "peer.key")
    try:
        return tuple((orders / "peer" / name).stat().st_mtime_ns for name in names)
    except OSError:
        return ()


def _context(protocol: int, folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(folder / "ca.crt")
    context.load_cert_chain(folder / "peer.crt", folder / "peer.key")
    return context
