"""A master cut off and scaled away under load: all who were let in are there."""

import json
import subprocess
import sys
from typing import Any

import pytest

from sandbox.cluster import PROJECT
from sandbox.moves.scenarios import SCENARIOS

_LIMIT = 1500
_PLAYED = ("controller", "scale-down")
_HELD = ("old token", "API password", "user made by hand", "enrolment password")


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    result = tmp_path_factory.mktemp("scenarios") / "result.json"
    command = [
        "--model",
        "tests-scenarios",
        "--clock-factor",
        "10",
        "--moves",
        "0",
        "--kills",
        "0",
    ]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "sandbox.moves",
            *command,
            "--json",
            result,
            "--scenarios",
            *_PLAYED,
        ],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_LIMIT,
        check=False,
    )
    sys.stdout.write(done.stdout)
    return json.loads(result.read_text())["events"]


def test_given_what_else_happens_to_a_master_under_load_when_over_then_nobody_let_in_is_lost(
    events: list[dict[str, Any]],
) -> None:
    assert {event["kind"] for event in events} == {SCENARIOS[name][0] for name in _PLAYED}
    assert [event for event in events if not event["holds"]] == []
    assert all(event["acknowledged"] > 0 for event in events)


def test_given_what_else_happens_when_over_then_what_people_have_in_their_hands_works(
    events: list[dict[str, Any]],
) -> None:
    assert [event["credentials"] for event in events] == [dict.fromkeys(_HELD, True)] * len(
        _PLAYED
    )
