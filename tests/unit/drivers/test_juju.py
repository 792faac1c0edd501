"""The driver for a controller, before a `juju` that does what Juju 3.6 does with the words."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.drivers import OnJuju

_JUJU = """#!/bin/sh
printf '%s\\n' "$*" >> "$0.log"
case "$1" in
ssh) shift 6; exec sh -c "$*" ;;
*) cat "$0.$1" ;;
esac
"""


@pytest.fixture
def juju(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., OnJuju]:
    """Make a driver whose `juju` answers each command with what is given for it."""

    def make(**answers: object) -> OnJuju:
        program = tmp_path / "juju"
        program.write_text(_JUJU)
        program.chmod(0o755)
        for command, answer in answers.items():
            (tmp_path / f"juju.{command.replace('_', '-')}").write_text(json.dumps(answer))
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        return OnJuju(Path("x.charm"), "image", "controller:m", {"wazuh-api": "admin/o.board"})

    return make


def test_given_a_program_of_many_lines_when_executed_then_a_shell_between_changes_nothing(
    juju: Callable[..., OnJuju],
) -> None:
    words = ["printf", "%s|", "two words", 'a "quoted" $HOME', "line\nline", "*"]

    assert juju().execute("wazuh-server/0", words) == 'two words|a "quoted" $HOME|line\nline|*|'


def test_given_a_failed_action_when_read_then_it_is_no_error_and_says_why(
    juju: Callable[..., OnJuju],
) -> None:
    found = juju(run={"wazuh-server/0": {"status": "failed", "message": "no", "results": {}}}).run(
        "wazuh-server/leader", "promote", unit="wazuh-server/9"
    )

    assert (found.done, found.message) == (False, "no")


def test_given_a_relation_when_shown_then_what_the_other_side_tells_is_read(
    juju: Callable[..., OnJuju],
) -> None:
    unit = {"workload-status": {"current": "active"}, "juju-status": {"current": "idle"}}
    status = {"applications": {"wazuh-server": {"units": {"wazuh-server/0": unit}}}}
    related = {"endpoint": "ingress", "application-data": {"external_host": "198.51.100.1"}}
    driver = juju(status=status, show_unit={"wazuh-server/0": {"relation-info": [related]}})

    assert driver.heard("ingress") == {"external_host": "198.51.100.1"}
    assert driver.heard("certificates") == {}


def test_given_an_offer_when_related_and_parted_then_it_is_named_as_juju_names_it(
    juju: Callable[..., OnJuju], tmp_path: Path
) -> None:
    driver = juju(integrate="", remove_relation="")

    assert driver.integrate("wazuh-api")
    driver.remove_relation("wazuh-api")

    typed = (tmp_path / "juju.log").read_text().splitlines()
    assert typed == [
        "integrate -m controller:m wazuh-server:wazuh-api admin/o.board",
        "remove-relation -m controller:m wazuh-server:wazuh-api board",
    ]
    assert not driver.integrate("opencti-connector")
