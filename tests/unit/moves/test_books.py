"""The books of the master's moves: what counts as lost, as a pause, as a cut session."""

import json
from pathlib import Path
from typing import Any

import pytest

from sandbox.moves.books import Agent, Books, contradictions, given_twice, missing
from sandbox.moves.events import GONE, PLANNED, Event


def _books(path: Path, *lines: dict[str, Any]) -> Books:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    books = Books(path)
    books.read()
    return books


def _enrolment(ended: float, number: str | None) -> dict[str, Any]:
    return {
        "kind": "enrolment",
        "began": ended - 0.1,
        "ended": ended,
        "good": number is not None,
        "name": f"agent-{ended}",
        "id": number,
        "key": number and f"key-{number}",
        "error": None,
    }


def test_given_an_acknowledged_agent_when_its_id_has_another_s_key_then_it_is_missing() -> None:
    agents = [Agent("001", "a", "k1", 1), Agent("002", "b", "k2", 2), Agent("003", "c", "k3", 3)]

    held = {"001": ("a", "k1"), "002": ("other", "k9")}

    assert missing(agents, held) == agents[1:]


def test_given_units_that_agree_when_one_has_another_key_for_an_id_then_it_is_counted() -> None:
    one = {"001": ("a", "k1"), "002": ("b", "k2")}

    assert contradictions([one, {"001": ("a", "k1")}]) == 0
    assert contradictions([one, {"001": ("a", "k1"), "002": ("b", "k9")}]) == 1
    assert given_twice([Agent("001", "a", "k1", 1), Agent("001", "b", "k2", 2)]) == 1


def test_given_successes_and_failures_when_a_pause_is_measured_then_only_successes_end_it(
    tmp_path: Path,
) -> None:
    lines = [_enrolment(t, n) for t, n in ((10, "001"), (12, None), (15, "002"), (16, "003"))]

    books = _books(tmp_path / "record", *lines)

    assert books.gap("enrolment", 9, 17) == 5
    assert books.gap("login", 9, 17) == 8
    assert [agent.id for agent in books.acknowledged(15)] == ["001", "002"]


def test_given_a_line_half_written_when_read_then_it_is_taken_once_it_is_whole(
    tmp_path: Path,
) -> None:
    path = tmp_path / "record"
    text = json.dumps(_enrolment(1, "001")) + "\n"
    books = Books(path)

    path.write_text(text[:20])
    books.read()
    assert books.agents == []
    path.write_text(text)
    books.read()
    books.read()
    assert len(books.agents) == 1


@pytest.mark.parametrize(
    ("begin", "end", "without"), [(0, 100, 12), (0, 8, 0), (12, 14, 2), (30, 40, 7), (0, 35, 7)]
)
def test_given_cut_sessions_when_measured_then_only_their_seconds_within_count(
    tmp_path: Path, begin: float, end: float, without: float
) -> None:
    happened = [(1, "open"), (10, "cut"), (15, "open"), (33, "cut"), (40, "open")]
    lines = [{"kind": what, "unit": "u/0", "at": at} for at, what in happened]
    other = {"kind": "cut", "unit": "u/1", "at": 2}

    books = _books(tmp_path / "record", other, *lines)

    assert books.without_session("u/0", begin, end) == without


def test_given_an_event_when_anybody_is_lost_beyond_what_may_be_then_it_does_not_hold() -> None:
    assert Event(PLANNED, "u/0").holds
    assert not Event(PLANNED, "u/0", lost=1).holds
    assert not Event(PLANNED, "u/0", without_sessions=0.5).holds
    assert Event(GONE, "u/0", lost=3, unwritten=1, uncopied=2).holds
    assert not Event(GONE, "u/0", lost=3, excess=1).holds
    assert not Event(GONE, "u/0", credentials={"old token": False}).holds
