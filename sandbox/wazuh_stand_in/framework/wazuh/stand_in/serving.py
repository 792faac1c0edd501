"""A thread for each connection, or for each that has said something."""

import selectors
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


def accept_some(
    server: socket.socket,
    handle: "Callable[[socket.socket], None]",
    places: int,
    refused: "Callable[[], None]",
) -> None:
    """Give each connection a thread once it speaks; where all places are taken, end it at once."""
    free = threading.Semaphore(places)
    selector = selectors.DefaultSelector()
    selector.register(server, selectors.EVENT_READ)

    def one(connection: socket.socket) -> None:
        try:
            # A client that goes away or talks no TLS is its own affair.
            with suppress(OSError, ValueError), connection:
                handle(connection)
        finally:
            free.release()

    def enter() -> None:
        connection, _ = server.accept()
        if free.acquire(blocking=False):
            selector.register(connection, selectors.EVENT_READ)
        else:
            refused()
            connection.close()

    def loop() -> None:
        while not stopping.is_set():
            for key, _ in selector.select():
                if key.fileobj is server:
                    try:
                        enter()
                    except OSError:
                        return
                elif isinstance(key.fileobj, socket.socket):
                    selector.unregister(key.fileobj)
                    threading.Thread(target=one, args=(key.fileobj,), daemon=True).start()

    threading.Thread(target=loop, daemon=True).start()
