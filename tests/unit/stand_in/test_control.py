import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.unit.stand_in.nodes import CLUSTER, Yard, until

NEEDED = {
    "wazuh-apid",
    "wazuh-authd",
    "wazuh-db",
    "wazuh-execd",
    "wazuh-analysisd",
    "wazuh-syscheckd",
    "wazuh-remoted",
    "wazuh-logcollector",
    "wazuh-monitord",
    "wazuh-modulesd",
    "wazuh-clusterd",
}


def statuses(text: str) -> dict[str, str]:
    return {entry["daemon"]: entry["status"] for entry in json.loads(text)["data"]}


def test_given_a_good_configuration_when_started_and_stopped_then_exit_codes_are_the_real_ones(
    nodes: Yard,
) -> None:
    node = nodes.node()

    started = node.run("wazuh-control", "start")
    until(lambda: node.pid("wazuh-clusterd"))
    asked = node.run("wazuh-control", "-j", "status")
    stopped = node.run("wazuh-control", "stop")

    assert started.returncode == 0, started.stdout + started.stderr
    assert "already" not in started.stdout
    # 1 although all that is wanted runs: maild and three others never do.
    assert asked.returncode == 1
    up = {name for name, state in statuses(asked.stdout).items() if state == "running"}
    assert up == NEEDED
    assert len(statuses(asked.stdout)) == 15
    assert stopped.returncode == 0
    assert list((node.home / "var/run").glob("*.pid")) == []


def test_given_a_malformed_key_when_started_then_it_fails_before_anything_is_started(
    nodes: Yard,
) -> None:
    node = nodes.node(key="too-short")

    done = node.run("wazuh-control", "start")

    assert done.returncode == 1
    assert "wazuh-clusterd: Configuration error. Exiting" in done.stdout
    assert (node.home / "var/run/wazuh-clusterd.failed").exists()
    assert list((node.home / "var/run").glob("*.pid")) == []
    assert not (node.home / "var/start-script-lock").exists()


def test_given_broken_xml_when_started_then_the_exit_code_is_1(nodes: Yard) -> None:
    node = nodes.node(extra="<global>")

    assert node.run("wazuh-control", "start").returncode == 1


def test_given_a_foreign_process_under_a_stale_pid_when_started_then_that_daemon_is_not(
    nodes: Yard,
) -> None:
    node = nodes.node(cluster="")
    stale = node.home / f"var/run/wazuh-execd-{os.getpid()}.pid"
    stale.write_text(f"{os.getpid()}\n")

    done = node.run("wazuh-control", "start")

    assert "wazuh-execd already running..." in done.stdout
    assert done.returncode == 0
    assert list((node.home / "var/run").glob("wazuh-execd-*.pid")) == [stale]


def test_given_a_pid_of_no_process_when_status_is_asked_then_its_file_is_removed(
    nodes: Yard,
) -> None:
    node = nodes.node()
    stale = node.home / "var/run/wazuh-execd-4194999.pid"
    stale.write_text("4194999\n")

    done = node.run("wazuh-control", "status")

    assert "wazuh-execd not running..." in done.stdout
    assert not stale.exists()


def test_given_no_ps_when_status_is_asked_then_pid_files_of_living_daemons_vanish(
    nodes: Yard,
    tmp_path: Path,
) -> None:
    node = nodes.node()
    node.up("wazuh-execd")
    for name in ("sh", "awk", "cat", "rm", "mkdir", "sleep", "dirname"):
        (tmp_path / name).symlink_to(Path("/bin" if name != "awk" else "/usr/bin", name))

    done = subprocess.run(
        [node.home / "bin/wazuh-control", "status"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert "wazuh-execd not running..." in done.stdout
    assert list((node.home / "var/run").glob("*.pid")) == []


def test_given_a_lock_of_a_living_process_when_status_is_asked_then_it_waits_its_tries(
    nodes: Yard,
) -> None:
    node = nodes.node()
    lock = node.home / "var/start-script-lock"
    lock.mkdir()
    (lock / "pid").write_text(f"{os.getpid()}\n")

    done = node.run("wazuh-control", "status")

    assert done.returncode == 1
    assert "Another instance is locking this process." in done.stdout
    assert lock.exists()


def test_given_a_lock_of_a_dead_process_when_status_is_asked_then_it_is_taken_over(
    nodes: Yard,
) -> None:
    node = nodes.node()
    lock = node.home / "var/start-script-lock"
    lock.mkdir()
    (lock / "pid").write_text("4194999\n")

    done = node.run("wazuh-control", "status")

    assert "wazuh-execd not running..." in done.stdout
    assert not lock.exists()


def test_given_a_daemon_that_ignores_term_when_stopped_then_it_is_killed(nodes: Yard) -> None:
    node = nodes.node()
    node.up("wazuh-execd")
    pid = node.pid("wazuh-execd")
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)

    done = node.run("wazuh-control", "stop")

    assert "Process wazuh-execd couldn't be terminated. It will be killed." in done.stdout
    until(lambda: not Path(f"/proc/{pid}").exists())


def test_given_a_cluster_tag_the_script_cannot_read_when_started_then_clusterd_silently_is_not(
    nodes: Yard,
) -> None:
    node = nodes.node(cluster=CLUSTER.replace("<cluster>", "<cluster >"))

    done = node.run("wazuh-control", "start")

    assert done.returncode == 0
    assert "wazuh-modulesd" in done.stdout
    assert "wazuh-clusterd" not in done.stdout


@pytest.mark.parametrize("block", ["auth", "cluster"])
def test_given_a_disabled_block_when_started_then_its_daemon_is_not(
    nodes: Yard,
    block: str,
) -> None:
    node = nodes.node()
    path = node.home / "etc/ossec.conf"
    head, tag, rest = path.read_text().partition(f"<{block}>")
    path.write_text(head + tag + rest.replace("<disabled>no", "<disabled>yes", 1))

    done = node.run("wazuh-control", "start")

    assert done.returncode == 0
    assert f"wazuh-{block}d" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "text", "code"),
    [
        (("info", "-v"), "v4.14.7\n", 0),
        (("info", "-t"), "server\n", 0),
        (
            ("info",),
            'WAZUH_VERSION="v4.14.7"\nWAZUH_REVISION="stand-in"\nWAZUH_TYPE="server"\n',
            0,
        ),
    ],
)
def test_given_info_when_asked_then_it_says_what_the_real_one_says(
    nodes: Yard,
    arguments: tuple[str, ...],
    text: str,
    code: int,
) -> None:
    done = nodes.node().run("wazuh-control", *arguments)

    assert (done.stdout, done.returncode) == (text, code)


@pytest.mark.parametrize("word", ["", "begin", "help"])
def test_given_an_unknown_command_when_asked_then_the_usage_is_shown_with_exit_code_1(
    nodes: Yard,
    word: str,
) -> None:
    done = nodes.node().run("wazuh-control", *([word] if word else []))

    assert done.returncode == 1
    assert "{start|stop|restart|" in done.stdout


def test_given_things_in_tmp_when_started_then_they_are_deleted_but_for_the_feeds(
    nodes: Yard,
) -> None:
    node = nodes.node(cluster="")
    for name in ("rest", "vd_1_vd_2.tar", "vd_1_vd_2.tar.xz"):
        (node.home / "tmp" / name).touch()

    node.run("wazuh-control", "start")

    assert sorted(path.name for path in (node.home / "tmp").iterdir()) == [
        "vd_1_vd_2.tar",
        "vd_1_vd_2.tar.xz",
    ]


def test_given_running_daemons_when_reloaded_then_execd_alone_keeps_its_process(
    nodes: Yard,
) -> None:
    node = nodes.node(cluster="")
    node.run("wazuh-control", "start")
    before = {name: node.pid(name) for name in NEEDED - {"wazuh-clusterd"}}

    done = node.run("wazuh-control", "reload")

    after = {name: node.pid(name) for name in before}
    assert done.returncode == 0, done.stdout + done.stderr
    assert [name for name in before if before[name] == after[name]] == ["wazuh-execd"]
    assert not (node.home / "var/run/.restart").exists()


def test_given_the_clock_factor_when_started_then_its_waits_are_that_much_shorter(
    nodes: Yard,
) -> None:
    node = nodes.node(cluster="")
    asked: list[str] = []
    for scale in ("20", "200"):
        node.environment["WAZUH_SERVER_TIME_SCALE"] = scale
        done = subprocess.run(
            ["sh", "-xc", f'set -- info -v; . "{node.home}/bin/wazuh-control"'],
            env={"PATH": os.environ["PATH"], "WAZUH_SERVER_TIME_SCALE": scale},
            capture_output=True,
            text=True,
            check=False,
        )
        asked += [line for line in done.stderr.splitlines() if line.startswith("+ second=")]

    assert asked == ["+ second=0.050", "+ second=0.005"]
