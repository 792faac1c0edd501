"""Which processes are Wazuh's, read from a /proc that a test writes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from supervisor import processes
from supervisor.places import Places

_PLACES = Places(home=Path("/var/ossec"), image=Path("/opt/wazuh-server"))
_PYTHON = "/var/ossec/framework/python/bin/python3.10"


def _process(
    proc: Path, pid: int, command: str, *, exe: str = "", parent: int = 1, group: int = 0
) -> None:
    folder = proc / str(pid)
    folder.mkdir()
    (folder / "stat").write_text(f"{pid} (odd ) S name) S {parent} {group or pid} 1 0 -1")
    (folder / "cmdline").write_bytes(command.replace(" ", "\0").encode() + b"\0")
    (folder / "exe").symlink_to(exe or command.split()[0])


@pytest.mark.parametrize(
    ("command", "exe", "name", "inside"),
    [
        ("/var/ossec/bin/wazuh-authd", "", "wazuh-authd", True),
        (
            "/var/ossec/bin/wazuh-authd",
            "/var/ossec/bin/wazuh-authd (deleted)",
            "wazuh-authd",
            True,
        ),
        (f"{_PYTHON} /var/ossec/framework/scripts/wazuh_clusterd.py", "", "wazuh-clusterd", True),
        (f"{_PYTHON} /var/ossec/api/scripts/wazuh_apid.py -f", "", "wazuh-apid", True),
        ("/bin/sh /var/ossec/bin/wazuh-control start", "/usr/bin/dash", "wazuh-control", True),
        ("python3 /var/ossec/wodles/aws/aws-s3", "/usr/bin/python3", "", True),
        (f"{_PYTHON} -I /opt/wazuh-server/bin/supervisor", "", "", False),
        (f"{_PYTHON} -I /opt/wazuh-server/bin/fetch-repository", "", "", False),
        (f"{_PYTHON} -c pass", "", "", True),
        ("/usr/sbin/rsyslogd -n", "", "", False),
        ("git clone http://x /var/lib", "/usr/bin/git", "", False),
    ],
)
def test_given_a_program_when_seen_then_it_is_known_for_what_it_is(
    tmp_path: Path, command, exe, name, inside
):
    _process(tmp_path, 500, command, exe=exe)
    process = processes.scan(_PLACES, tmp_path).processes[500]
    assert (process.name, process.inside) == (name, inside)


def test_given_children_of_a_dead_main_when_looked_for_then_they_are_left_and_no_daemon(
    tmp_path: Path,
):
    home = tmp_path / "home"
    (home / "var/run").mkdir(parents=True)
    places = Places(home=home)
    proc = tmp_path / "proc"
    proc.mkdir()
    program = f"{home}/bin/wazuh-clusterd"
    _process(proc, 500, program, group=499)
    _process(proc, 501, program, group=499)
    _process(proc, 502, "/bin/sleep 5", parent=501, group=499)
    (home / "var/run/wazuh-clusterd-500.pid").write_text("500")
    table = processes.scan(places, proc)
    assert processes.mains(places, table, "wazuh-clusterd") == {500}
    groups = processes.groups_of(places, table, "wazuh-clusterd")
    for entry in (proc / "500").iterdir():
        entry.unlink()
    (proc / "500").rmdir()
    table = processes.scan(places, proc)
    assert processes.mains(places, table, "wazuh-clusterd") == set()
    assert processes.living(places, table, "wazuh-clusterd") == {501}
    assert processes.remains(places, table, "wazuh-clusterd", groups) == {501}


def test_given_daemons_of_one_group_when_one_is_ended_then_the_group_is_not(tmp_path: Path):
    home = tmp_path / "home"
    (home / "var/run").mkdir(parents=True)
    places = Places(home=home)
    proc = tmp_path / "proc"
    proc.mkdir()
    _process(proc, 500, f"{home}/bin/wazuh-authd", group=400)
    _process(proc, 501, f"{home}/bin/wazuh-remoted", group=400)
    table = processes.scan(places, proc)
    assert processes.remains(places, table, "wazuh-authd", {400}) == set()


def test_given_a_pid_file_of_another_program_when_read_then_it_is_no_daemon(tmp_path: Path):
    home = tmp_path / "home"
    (home / "var/run").mkdir(parents=True)
    places = Places(home=home)
    for pid in (os.getpid(), 1):
        (home / f"var/run/wazuh-authd-{pid}.pid").write_text(str(pid))
    (home / "var/run/wazuh-authd-x.pid").write_text("x")
    table = processes.scan(places)
    assert processes.mains(places, table, "wazuh-authd") == set()


def test_given_a_child_that_ended_when_its_starter_waits_then_its_status_is_not_taken():
    grave = processes.Graveyard()
    pid = os.posix_spawn("/bin/false", ["false"], {})
    assert processes.wait_until(lambda: pid in processes.scan(_PLACES).dead(), 20)
    grave.tend(processes.scan(_PLACES), set(), 100.0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1


def test_given_an_orphan_when_nobody_asks_for_it_then_it_is_buried():
    grave = processes.Graveyard()
    pid = os.posix_spawn("/bin/false", ["false"], {})
    assert processes.wait_until(lambda: pid in processes.scan(_PLACES).dead(), 20)
    grave.tend(processes.scan(_PLACES), set(), 100.0)
    grave.tend(processes.scan(_PLACES), {pid}, 103.0)
    grave.tend(processes.scan(_PLACES), set(), 104.0)
    assert pid in processes.scan(_PLACES).dead(), "kept for a while, its time began anew"
    grave.tend(processes.scan(_PLACES), set(), 107.0)
    assert pid not in processes.scan(_PLACES).dead()
