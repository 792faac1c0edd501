"""Commands: what they print, how they refuse, and that an interruption does no harm."""

import signal
import subprocess
import sys

import pytest

from sandbox.driver import APPLICATION, CommandFailedError, Driver


def test_given_a_unit_when_a_program_is_run_then_it_runs_in_the_workload_container(
    cluster: Driver,
) -> None:
    unit = next(iter(cluster.units()))

    command = "tr '\\0' ' ' < /proc/1/cmdline; echo; hostname; pwd"
    first, host, directory = cluster.exec(unit, ["sh", "-c", command]).splitlines()

    assert first.startswith("/charm/bin/pebble run")
    assert (host, directory) == (unit.replace("/", "-"), "/")


def test_given_a_unit_when_a_program_fails_then_its_exit_code_is_ours(cluster: Driver) -> None:
    unit = next(iter(cluster.units()))

    with pytest.raises(CommandFailedError, match="not so"):
        cluster.exec(unit, ["sh", "-c", "echo not so >&2; exit 3"])


def test_given_a_unit_when_a_program_is_run_in_the_charm_then_it_sees_pebble_s_socket(
    cluster: Driver,
) -> None:
    unit = next(iter(cluster.units()))

    found = cluster.exec(unit, ["sh", "-c", "ls /charm/containers/*; pwd"], container="charm")

    assert "pebble.socket" in found
    assert found.splitlines()[-1].endswith(f"unit-{unit.replace('/', '-')}/charm")


def test_given_an_unknown_option_when_it_is_set_then_the_sentence_names_it(
    cluster: Driver,
) -> None:
    with pytest.raises(CommandFailedError, match='unknown option "no-such-option"'):
        cluster.juju("config", APPLICATION, "no-such-option=1")


def test_given_an_unknown_action_when_it_is_run_then_the_sentence_names_it(
    cluster: Driver,
) -> None:
    with pytest.raises(CommandFailedError, match='action "no-such-action" not defined'):
        cluster.juju("run", f"{APPLICATION}/leader", "no-such-action")


def test_given_no_model_when_a_command_is_typed_then_one_sentence_says_so(other: Driver) -> None:
    with pytest.raises(CommandFailedError, match="there is no model"):
        other.juju("status")


def test_given_a_secret_when_it_is_listed_then_its_content_is_not_shown(cluster: Driver) -> None:
    password = cluster.secret("enrolment-password")["password"]

    assert "enrolment-password" in cluster.juju("secrets")
    assert password not in cluster.juju("show-secret", "enrolment-password")
    assert password in cluster.juju("show-secret", "enrolment-password", "--reveal")


def test_given_a_running_program_when_its_command_is_interrupted_then_it_ends_with_it(
    cluster: Driver,
) -> None:
    unit = next(iter(cluster.units()))
    mark = "4242.42"
    where = ["exec", "-m", "tests", "--unit", unit, "--"]
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox.cli", *where, "sleep", mark], preexec_fn=_hear_interrupts
    )
    running = ["sh", "-c", f"pgrep -f '[s]leep {mark}' || true"]
    cluster.wait("the program runs", lambda: bool(cluster.exec(unit, running)), 30)

    process.send_signal(signal.SIGINT)
    process.wait(timeout=30)

    cluster.wait("the program has ended", lambda: not cluster.exec(unit, running), 30)
    assert cluster.status()["model"]["name"] == "tests"


def _hear_interrupts() -> None:
    """Undo what a shell does to jobs in the background: they, and all below, ignore Control-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
