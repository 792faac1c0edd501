"""Free ports for programs that are told theirs, also when the tests run side by side."""

import itertools
import os
import socket

_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_EACH = 1500
# Below the ports that the kernel gives to clients and to whoever asks for any; another run on the
# same machine begins elsewhere in its round.
_FIRST = 10000 + _WORKER % 10 * _EACH
_candidates = (_FIRST + (os.getpid() + turn) % _EACH for turn in itertools.count())


def free_port() -> int:
    """Return a port of this process's own share that nobody listens on, each one once a round."""
    return next(port for port in _candidates if _is_free(port))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
