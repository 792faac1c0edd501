"""Repositories far beyond the limits, at their real size: how long, how much memory and disk.

Each run is a process of its own, as Pebble starts it, so that its peak can be told.
"""

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from repository.places import MEBIBYTE, Limits

# How busy the machine is decides nothing here: only sizes do.
_RUN = """
import resource, sys
from pathlib import Path
from repository.places import Limits, Places
from repository.run import run
run(Places(*map(Path, sys.argv[1:])), Limits(seconds=500, stall_seconds=400))
for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
    print(resource.getrusage(who).ru_maxrss)
"""
# A child of a small shell: what a process was forked from counts in its peak.
_APART = '"$@" & wait "$!"'
_ROCK = Path(__file__).resolve().parents[3] / "rock"


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run took at most: seconds, and bytes of memory (one process) and of disk."""

    seconds: float
    memory: int
    disk: int


def _run(charm, url: str) -> Cost:
    """Fetch with the real limits; look at the disk all the time."""
    charm.ask(url)
    places = charm.places
    paths = [str(places.request), str(places.home), str(places.socket)]
    environment = {**os.environ, "PYTHONPATH": str(_ROCK)}
    began = time.monotonic()
    command = ["sh", "-c", _APART, "sh", sys.executable, "-c", _RUN, *paths]
    done, seen = threading.Event(), [0]
    watcher = threading.Thread(target=_watch, args=(places.home, seen, done))
    watcher.start()
    try:
        output = subprocess.check_output(command, env=environment, stderr=subprocess.DEVNULL)
    finally:
        done.set()
        watcher.join()
    memory = max(int(word) * 1024 for word in output.split())
    return Cost(time.monotonic() - began, memory, max(seen))


def _watch(home: Path, seen: list[int], done: threading.Event) -> None:
    while not done.wait(0.02):
        seen.append(_size(home))


def _size(home: Path) -> int:
    size = 0
    for folder, _, names in os.walk(home):
        for name in names:
            try:
                size += Path(folder, name).stat().st_blocks * 512
            except FileNotFoundError:
                continue
    return size


def random_file(origin) -> None:
    """Commit 200 MB that no compression makes smaller."""
    origin.git("config", "core.compression", "0")
    origin.git("config", "pack.window", "0")
    origin.commit({"rules/big.xml": random.Random(1).randbytes(200 * MEBIBYTE)})


def zeros(origin) -> None:
    """Commit 200 MB that come as a few kilobytes."""
    origin.commit({"rules/big.xml": bytes(200 * MEBIBYTE)})


def many(folder: str) -> Callable:
    """Commit 100,000 files."""

    def act(origin) -> None:
        # In many folders: fast-import takes minutes for one of 100,000 names.
        lines = "".join(
            f"M 644 inline {folder}/{number % 500}/{number}.xml\ndata 0\n\n"
            for number in range(100_000)
        )
        head = "commit refs/heads/main\ncommitter a <a@example.com> 1 +0000\ndata 1\nx\n"
        origin.git("fast-import", "--quiet", "--force", stdin=(head + lines).encode())

    return act


@pytest.mark.parametrize(
    ("what", "act", "sentence"),
    [
        ("a file of 200 MiB, random", random_file, "larger than 64 MiB"),
        ("a file of 200 MiB, zeros", zeros, "rules/big.xml is larger than 8 MiB"),
        ("100,000 files in rules", many("rules"), "more than 20000 files"),
        ("100,000 files elsewhere", many("docs"), "more than 20000 files"),
    ],
)
def test_given_far_too_much_when_fetched_then_it_is_refused_in_bounds_and_the_last_good_stays(
    charm, origin, url, rules, what, act, sentence
):
    good = origin.commit({"rules/good.xml": rules})
    assert charm.result(url)["commit"] == good
    act(origin)

    cost = _run(charm, url)

    found, limits = charm.read(), Limits()
    sys.stdout.write(
        f"{what}: {found['error']!r} after {cost.seconds:.1f} s, at most "
        f"{cost.memory / MEBIBYTE:.0f} MiB of memory and {cost.disk / MEBIBYTE:.0f} MiB of disk\n"
    )
    assert found["error"] == sentence
    assert found["commit"] == good
    assert charm.trees() == {good}
    assert cost.memory < limits.memory_bytes / 4
    assert cost.disk < limits.pack_bytes + limits.listing_bytes + MEBIBYTE
    assert _size(charm.places.home) < MEBIBYTE
