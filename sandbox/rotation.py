"""Rotate secrets of a running model and measure what clients, agents and workers notice.

`python -m sandbox.rotation --secret cluster-key --clock-factor 1 [--wazuh DIR]` deploys three
units of its own, rotates, prints one line of JSON a secret and ends the model. Seconds are real
ones where the clock factor is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sandbox.demo.cluster import Cluster
from sandbox.driver import APPLICATION, Driver

SECRETS = ("cluster-key", "api-users", "api-identity", "enrolment-password")
PASSWORD_KEYS = {"api-users": "wazuh", "enrolment-password": "password"}
_NEXT = "next-"
_STEADY = 3.0
_PYTHON = "/var/ossec/framework/python/bin/python3"
#: Run in a worker's container: a line whenever its connection to a master's port 1516 changes.
_CONNECTION = """
import sys, time
before = None
end = time.time() + float(sys.argv[1])
while time.time() < end:
    found = False
    for name in ("tcp", "tcp6"):
        for line in open("/proc/net/" + name).readlines()[1:]:
            fields = line.split()
            found = found or (fields[2].endswith(":05EC") and fields[3] == "01")
    if found != before:
        before = found
        print(time.time(), int(found), flush=True)
    time.sleep(0.05)
"""


@dataclass(frozen=True, slots=True)
class Noticed:
    """What was noticed of one rotation; times in seconds."""

    secret: str
    took: float
    """From the action to the end of the rotation."""
    apart: tuple[float, ...]
    """Of each worker: how long it was not connected to the master."""
    refused: float
    """The longest time for which the published API password was refused where one answered."""
    no_api: float
    """The longest time for which no login at the Service was answered at all."""
    not_enrolled: float
    """The longest time without an enrolment at the Service; one is begun each half second."""
    logins: int
    enrolments: int
    sessions_cut: int


def measure(driver: Driver, secret: str, *, calm: float = 15.0) -> Noticed:
    """Rotate one secret while people log in and agents enrol, until it has ended."""
    cluster = Cluster(driver)
    workers = [unit for unit in cluster.units() if unit != cluster.master()]
    host = f"{APPLICATION}.{driver.model}.svc.cluster.local"
    watched: list[list[tuple[float, bool]]] = []
    with (
        _passwords(driver) as files,
        _connections(driver, workers, watched),
        cluster.asking("sessions", host=host, seconds=600) as sessions,
        cluster.asking(
            "credentials",
            host=host,
            user="wazuh",
            **{"password-file": str(files["api-users"])},
            ca=cluster.secret("certificate-authority")["certificate"],
            seconds=600,
            every=0.4,
        ) as logins,
        cluster.asking(
            "agents",
            host=host,
            prefix=f"{secret}-{time.monotonic_ns()}-",
            **{"password-file": str(files["enrolment-password"])},
            password="",
            seconds=600,
            every=0.5,
        ) as agents,
    ):
        time.sleep(3)
        began = time.monotonic()
        done = driver.run(f"{APPLICATION}/leader", "rotate-secret", secret=secret)
        if done["status"] != "completed":
            raise AssertionError(done["message"])
        cluster.wait("the rotation has ended", lambda: not _under_way(driver), 400)
        took = time.monotonic() - began
        cluster.wait("all units serve", lambda: cluster.is_whole(len(workers) + 1), 200)
        time.sleep(calm)
        answered, enrolled, cut = logins(), agents(), sessions()
    return Noticed(
        secret=secret,
        took=round(took, 1),
        apart=tuple(round(_away(lines), 1) for lines in watched),
        refused=_longest([one for one in answered if one["status"] is not None], "status", 200),
        no_api=_longest([one | {"up": one["status"] is not None} for one in answered], "up", True),
        not_enrolled=_longest([one | {"got": bool(one["id"])} for one in enrolled], "got", True),
        logins=sum(one["status"] == 200 for one in answered),
        enrolments=sum(bool(one["id"]) for one in enrolled),
        sessions_cut=sum(one.get("cut") is True for one in cut),
    )


def _under_way(driver: Driver) -> list[str]:
    return [
        label for label in SECRETS if any(key.startswith(_NEXT) for key in driver.secret(label))
    ]


@contextlib.contextmanager
def _passwords(driver: Driver) -> Iterator[dict[str, Path]]:
    """Keep what Juju publishes in files that only this user reads, as a client that follows it."""
    files = {label: driver.scratch / f"published-{label}" for label in PASSWORD_KEYS}
    stop = threading.Event()

    def follow() -> None:
        while not stop.wait(0.2):
            publish()

    def publish() -> None:
        for label, key in PASSWORD_KEYS.items():
            draft = files[label].with_suffix(".new")
            draft.touch(mode=0o600)
            draft.write_text(driver.secret(label)[key])
            draft.replace(files[label])

    publish()
    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield files
    finally:
        stop.set()
        thread.join(10)
        for path in files.values():
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _connections(
    driver: Driver, workers: Sequence[str], watched: list[list[tuple[float, bool]]]
) -> Iterator[None]:
    """Watch the workers' connections; afterwards `watched` has each one's changes."""
    processes = [
        subprocess.Popen(
            driver._command(["exec", "--unit", unit, "--", _PYTHON, "-c", _CONNECTION, "600"]),
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        for unit in workers
    ]
    lines: list[list[tuple[float, bool]]] = [[] for _ in workers]

    def read(number: int) -> None:
        for line in processes[number].stdout or ():
            at, found = line.split()
            lines[number].append((float(at), found == "1"))

    threads = [threading.Thread(target=read, args=(n,), daemon=True) for n in range(len(workers))]
    for thread in threads:
        thread.start()
    watched.extend(lines)
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
        for process, thread in zip(processes, threads, strict=True):
            process.wait(20)
            thread.join(20)


def _away(changes: Sequence[tuple[float, bool]]) -> float:
    """Return the time from the first loss to the connection that then stayed."""
    lost = next((at for at, up in changes if not up), None)
    if lost is None:
        return 0.0
    ups = [at for at, up in changes if up and at > lost]
    downs = [at for at, up in changes if not up]
    steady = [up for up in ups if not any(up < down < up + _STEADY for down in downs)]
    return (steady[-1] if steady else float("inf")) - lost


def _longest(answers: Sequence[dict], key: str, good: object) -> float:
    """Return the longest time between two good answers in which there was a bad one."""
    longest, last, bad = 0.0, None, False
    for one in sorted(answers, key=lambda one: one["began"] + one["took"]):
        at = one["began"] + one["took"]
        if one[key] == good:
            if bad and last is not None:
                longest = max(longest, at - last)
            last, bad = at, False
        else:
            bad = True
    if bad and last is not None:
        longest = max(longest, time.time() - last)
    return round(longest, 1)


def main(arguments: Sequence[str]) -> int:
    """Deploy, rotate, print, end."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.rotation", description=__doc__)
    parser.add_argument("--secret", action="append", choices=[*SECRETS, "all"])
    parser.add_argument("--clock-factor", type=float, default=10.0)
    parser.add_argument("--wazuh", type=Path)
    parser.add_argument("--model", default="rotation")
    asked = parser.parse_args(arguments)
    driver = Driver(asked.model, asked.clock_factor, wazuh=asked.wazuh)
    kind = f"Wazuh of {asked.wazuh}" if asked.wazuh else "the stand-in for Wazuh"
    print(f"# Juju is emulated; {kind}; clock factor {asked.clock_factor:g}", flush=True)
    driver.destroy()
    try:
        driver.deploy(3)
        driver.wait_active(3, timeout=600)
        driver.wait_idle()
        for secret in asked.secret or SECRETS:
            print(json.dumps(asdict(measure(driver, secret))), flush=True)
            driver.wait_idle()
    finally:
        driver.destroy()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
