"""Being told to end.

A handler in Python runs in the main thread wherever that happens to be: also while it holds the
lock of the very event that the handler is to set, and then nobody sets anything ever again. And a
signal that comes while the main thread waits for the interpreter, just before it goes to sleep,
is handled only once it wakes. So the handlers do nothing, and a thread reads the numbers that the
interpreter writes to a pipe at once (`signal.set_wakeup_fd`).
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

_NUMBERS = (signal.SIGTERM, signal.SIGINT)


def on_end(stop: Callable[[], None]) -> None:
    """Have SIGTERM and SIGINT call this, from a thread of its own. From the main thread alone."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in _NUMBERS:
        signal.signal(number, lambda *_: None)

    def wait() -> None:
        while os.read(reading, 1):
            stop()

    threading.Thread(target=wait, name="signals", daemon=True).start()
