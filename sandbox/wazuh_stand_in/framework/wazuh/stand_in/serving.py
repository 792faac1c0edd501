"""A thread for each connection."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from .process import stopping


def accept(server: socket.socket, handle: "Callable[[socket.socket], None]") -> None:
    """Give each connection a thread of its own."""

    def one(connection: socket.socket) -> None:
        # A client that goes away or talks no TLS is its own affair.
        with suppress(OSError, ValueError), connection:
            handle(connection)

    def loop() -> None:
        while not stopping.is_set():
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    threading.Thread(target=loop, daemon=True).start()
