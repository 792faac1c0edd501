"""The master moved twice and killed twice under load, with books of every acknowledged agent."""

import json
import subprocess
import sys
from typing import Any

import pytest

from sandbox.cluster import PROJECT
from sandbox.moves.events import GONE, PLANNED, PROCESS

_LIMIT = 900


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    result = tmp_path_factory.mktemp("moves") / "result.json"
    command = ["--model", "tests-moves", "--clock-factor", "10", "--moves", "2", "--kills", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "sandbox.moves", *command, "--json", str(result)],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_LIMIT,
        check=False,
    )
    sys.stdout.write(done.stdout)
    return json.loads(result.read_text()) | {"code": done.returncode, "output": done.stdout}


def test_given_two_moves_and_two_kills_under_load_when_counted_then_all_of_them_hold(
    report: dict[str, Any],
) -> None:
    assert [event["kind"] for event in report["events"]] == [PLANNED, PLANNED, GONE, PROCESS]
    assert [event for event in report["events"] if not event["holds"]] == []
    assert report["code"] == 0


def test_given_planned_moves_under_load_when_counted_then_nobody_is_lost_and_no_session_cut(
    report: dict[str, Any],
) -> None:
    planned = [event for event in report["events"] if event["kind"] == PLANNED]

    assert all(event["acknowledged"] > 0 for event in planned)
    assert [event["lost"] for event in planned] == [0, 0]
    assert [event["without_sessions"] for event in planned] == [0, 0]


def test_given_moves_and_kills_when_over_then_what_people_have_in_their_hands_works_on_each_unit(
    report: dict[str, Any],
) -> None:
    works = [event["credentials"] for event in report["events"]]

    names = ("old token", "API password", "user made by hand", "enrolment password")
    assert works == [dict.fromkeys(names, True)] * 4


def test_given_a_run_of_moves_when_it_ends_then_it_says_what_stood_in_for_what(
    report: dict[str, Any],
) -> None:
    assert "Juju is emulated" in report["output"]
    assert "stand-in" in report["output"]
