"""Being told to end, wherever the main thread happens to be."""

import os
import subprocess
import sys

import pytest

from sandbox.cluster import PROJECT

#: The main thread is told while it holds the event's own lock, as it does for a moment in `wait`.
_PROGRAM = """
import os, signal, sys, threading, time
from supervisor import signals
ended = threading.Event()
signals.on_end(ended.set)
with ended._cond:
    for _ in range(int(sys.argv[1])):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.05)
print(ended.wait(20))
"""


@pytest.mark.parametrize("times", [1, 3])
def test_given_the_events_lock_held_when_told_to_end_then_it_is_heard(times: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(times)],
        env=os.environ | {"PYTHONPATH": str(PROJECT / "rock")},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert done.stdout == "True\n"
