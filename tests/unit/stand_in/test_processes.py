import os
import signal
from pathlib import Path

import pytest

from tests.unit.stand_in.nodes import Yard, running, until

DAEMONS = (
    "wazuh-execd",
    "wazuh-db",
    "wazuh-analysisd",
    "wazuh-authd",
    "wazuh-clusterd",
    "wazuh-remoted",
    "wazuh-logcollector",
)


@pytest.mark.parametrize("daemon", DAEMONS)
def test_given_a_daemon_when_started_then_it_leads_nobody_and_has_a_group_of_its_own(
    nodes: Yard,
    daemon: str,
) -> None:
    node = nodes.node()

    node.up(daemon)

    pid = node.pid(daemon)
    assert pid is not None
    assert os.getpgid(pid) not in (pid, os.getpgid(0))
    assert os.getsid(pid) == os.getpgid(pid)
    assert Path(f"/proc/{pid}/comm").read_text().strip() == daemon[:15]
    assert (node.home / f"var/run/{daemon}-{pid}.pid").read_text() == f"{pid}\n"


@pytest.mark.parametrize("daemon", DAEMONS)
def test_given_a_daemon_when_told_to_end_then_its_pid_file_goes(nodes: Yard, daemon: str) -> None:
    node = nodes.node()
    node.up(daemon)

    node.tell(daemon, signal.SIGTERM)

    assert list((node.home / "var/run").glob(f"{daemon}-*.pid")) == []


def test_given_authd_when_killed_then_its_pid_file_stays(nodes: Yard) -> None:
    node = nodes.node()
    node.up("wazuh-authd")

    node.tell("wazuh-authd", signal.SIGKILL)

    assert len(list((node.home / "var/run").glob("wazuh-authd-*.pid"))) == 1


def test_given_authd_when_it_gets_sighup_then_it_ends(nodes: Yard) -> None:
    node = nodes.node()
    node.up("wazuh-authd")

    node.tell("wazuh-authd", signal.SIGHUP)

    assert node.pid("wazuh-authd") is None


def test_given_remoted_in_the_foreground_when_started_then_its_parent_ends_at_once(
    nodes: Yard,
) -> None:
    node = nodes.node()

    done = node.run("wazuh-remoted", "-f")

    assert done.returncode == 0
    assert until(lambda: node.pid("wazuh-remoted"))


def test_given_a_master_killed_by_its_main_pid_when_started_anew_then_it_exits_0_without_port(
    nodes: Yard,
) -> None:
    node = nodes.node()
    node.up("wazuh-clusterd")
    until(lambda: len(list((node.home / "var/run").glob("wazuh-apid_auth-*.pid"))) == 2)
    pid = node.pid("wazuh-clusterd")
    assert pid is not None
    group = os.getpgid(pid)
    node.tell("wazuh-clusterd", signal.SIGKILL)

    done = node.run("wazuh-clusterd", "-f")

    assert done.returncode == 0
    assert "Errno 98" in node.log("cluster")
    os.killpg(group, signal.SIGKILL)
    until(lambda: "Serving" in again(node.log("cluster")) or start(nodes))


def again(log: str) -> str:
    return log.partition("Errno 98")[2]


def start(nodes: Yard) -> bool:
    node = nodes.nodes[0]
    if node.pid("wazuh-clusterd") is None:
        node.run("wazuh-clusterd")
    return False


def test_given_apid_killed_by_its_main_pid_when_started_anew_then_its_orphan_is_ended(
    nodes: Yard,
) -> None:
    node = nodes.node(cluster="")
    node.up("wazuh-apid")
    until(lambda: list((node.home / "var/run").glob("wazuh-apid_exec-*.pid")))
    orphan = node.pid("wazuh-apid_exec")
    assert orphan is not None
    node.tell("wazuh-apid", signal.SIGKILL)
    assert running(orphan)

    node.up("wazuh-apid")

    until(lambda: not running(orphan))


def test_given_absolute_links_when_wazuh_db_starts_then_it_dies_of_them(nodes: Yard) -> None:
    node = nodes.node()
    keep = node.home / "queue/keep"
    keep.mkdir()
    (node.home / "etc").rename(keep / "etc")
    (node.home / "etc").symlink_to(keep / "etc")

    done = node.run("wazuh-db", "-f")

    assert done.returncode == -signal.SIGSEGV


def test_given_relative_links_when_wazuh_db_starts_then_it_runs(nodes: Yard) -> None:
    node = nodes.node()
    (node.home / "queue/keep").mkdir()
    (node.home / "etc").rename(node.home / "queue/keep/etc")
    (node.home / "etc").symlink_to("queue/keep/etc")

    node.up("wazuh-db")

    assert node.pid("wazuh-db")
