"""Rules: a fetched commit put in place, and a reload for any change. A real analysis socket."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from supervisor import ruleset
from supervisor.desired import Ruleset
from supervisor.places import Places

_COMMIT = "ab" * 20


class Analysis:
    """Answers on queue/sockets/analysis, and refuses rules that say so."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.loads: list[set[str]] = []
        path = places.home / "queue/sockets/analysis"
        path.parent.mkdir(parents=True)
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(str(path))
        self.server.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                stream, _ = self.server.accept()
            except OSError:
                return
            with stream:
                (size,) = struct.unpack("<I", stream.recv(4))
                request = json.loads(stream.recv(size))
                assert request["command"] == "reload-ruleset"
                reply = json.dumps(self._load()).encode()
                stream.sendall(struct.pack("<I", len(reply)) + reply)

    def _load(self) -> dict:
        found = [p for p in (self.places.home / "etc").rglob("*") if p.is_file()]
        if any("broken" in p.read_text() for p in found):
            return {"error": 1, "message": "due", "data": ["ERROR: rule 100001 is broken"]}
        self.loads.append({p.name for p in found})
        return {"error": 0, "message": "ok", "data": []}


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """Lay out a home with the three folders, and the folder of fetched commits."""
    made = Places(
        home=tmp_path / "ossec", image=tmp_path / "image", repository=tmp_path / "repository"
    )
    for kind in ("rules", "decoders", "lists"):
        (made.home / "etc" / kind).mkdir(parents=True)
    made.keep.mkdir(parents=True)
    (made.home / "etc/rules/local_rules.xml").write_text("<group>image</group>")
    seed = made.image / "seed/etc/rules"
    seed.mkdir(parents=True)
    (seed / "local_rules.xml").write_text("<group>image</group>")
    return made


@pytest.fixture
def analysis(places: Places) -> Iterator[Analysis]:
    """Serve the socket for a test."""
    made = Analysis(places)
    yield made
    made.server.close()


def _fetch(places: Places, commit: str = _COMMIT, **files: str) -> None:
    for name, text in files.items():
        kind, _, rest = name.partition("__")
        path = places.repository / commit / kind / rest.replace("_xml", ".xml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _texts(places: Places) -> dict[str, str]:
    etc = places.home / "etc"
    return {str(p.relative_to(etc)): p.read_text() for p in etc.rglob("*") if p.is_file()}


def test_given_a_fetched_commit_when_placed_then_its_files_are_loaded(places, analysis):
    _fetch(places, rules__mine_xml="<group/>", decoders__d_xml="<decoder/>", lists__hosts="a:b")
    placed = ruleset.place(places, _COMMIT)
    assert placed == ruleset.load(places)
    assert placed.files == ("decoders/d.xml", "lists/hosts", "rules/mine.xml")
    assert analysis.loads == [{"mine.xml", "d.xml", "hosts", "local_rules.xml"}]


def test_given_a_newer_commit_when_placed_then_what_it_no_longer_has_is_gone(places, analysis):
    _fetch(places, rules__mine_xml="<group/>", rules__local_rules_xml="<group>theirs</group>")
    ruleset.place(places, _COMMIT)
    _fetch(places, "cd" * 20, rules__other_xml="<group/>")
    ruleset.place(places, "cd" * 20)
    assert _texts(places) == {
        "rules/other.xml": "<group/>",
        "rules/local_rules.xml": "<group>image</group>",
    }


@pytest.mark.parametrize("step", ["reload_rules", "_remember"])
def test_given_a_kill_while_rules_are_placed_when_it_restarts_then_all_is_as_it_was(
    places, monkeypatch, step
):
    def killed(*_arguments: object) -> list[str]:
        raise KeyboardInterrupt

    before = _texts(places)
    _fetch(places, rules__mine_xml="<group>broken", rules__local_rules_xml="<group>theirs</group>")
    monkeypatch.setattr(ruleset, "reload_rules", lambda _home: [])
    monkeypatch.setattr(ruleset, step, killed)
    with pytest.raises(KeyboardInterrupt):
        ruleset.place(places, _COMMIT)
    assert _texts(places) != before
    ruleset.recover(places)
    assert _texts(places) == before


def test_given_a_kill_after_rules_were_taken_when_it_restarts_then_they_stay(places, analysis):
    _fetch(places, rules__mine_xml="<group/>")
    ruleset.place(places, _COMMIT)
    assert not ruleset._unfinished(places).exists()
    ruleset._note(places, _COMMIT, {"rules/mine.xml": None})
    ruleset.recover(places)
    assert "rules/mine.xml" in _texts(places)
    assert not ruleset._unfinished(places).exists()


def test_given_no_commit_any_more_when_placed_then_all_is_as_the_image_has_it(places, analysis):
    _fetch(places, rules__mine_xml="<group/>")
    ruleset.place(places, _COMMIT)
    ruleset.place(places, None)
    assert _texts(places) == {"rules/local_rules.xml": "<group>image</group>"}
    assert ruleset.load(places) == ruleset.Placed()


def test_given_rules_that_wazuh_refuses_when_placed_then_the_last_good_are_back(places, analysis):
    _fetch(places, rules__mine_xml="<group/>")
    ruleset.place(places, _COMMIT)
    before = _texts(places)
    _fetch(places, "cd" * 20, rules__mine_xml="broken", rules__more_xml="<group/>")
    with pytest.raises(ruleset.RulesetError, match="rule 100001 is broken"):
        ruleset.place(places, "cd" * 20)
    assert _texts(places) == before
    assert ruleset.load(places).commit == _COMMIT
    assert analysis.loads[-1] == {"mine.xml", "local_rules.xml"}


def test_given_no_analysisd_when_placed_then_nothing_is_changed(places):
    before = _texts(places)
    _fetch(places, rules__mine_xml="<group/>")
    with pytest.raises(ruleset.RulesetError, match="could not be loaded"):
        ruleset.place(places, _COMMIT)
    assert _texts(places) == before


def test_given_a_commit_that_is_not_there_when_placed_then_it_says_so(places, analysis):
    with pytest.raises(ruleset.RulesetError, match="not in the container"):
        ruleset.place(places, _COMMIT)


def test_given_links_and_odd_names_when_placed_then_they_are_left_out(places, analysis):
    _fetch(places, rules__fine_xml="<group/>", rules__text="x", lists__compiled="x")
    folder = places.repository / _COMMIT
    (folder / "rules/link.xml").symlink_to("/etc/passwd")
    (folder / "rules/-o.xml").write_text("<group/>")
    (folder / "lists/hosts.cdb").write_text("x")
    (folder / "rules/folder.xml").mkdir()
    assert ruleset.place(places, _COMMIT).files == ("lists/compiled", "rules/fine.xml")


def test_given_a_watch_when_a_rule_changes_then_it_tells_once_it_is_stable(places, analysis):
    watch = ruleset.Watch(places)
    watch.started()
    assert not watch.changed()
    (places.home / "etc/rules/new.xml").write_text("<group/>")
    assert not watch.changed(), "it may still be being written"
    assert watch.changed()
    assert watch.reload() == []
    assert not watch.changed()


def test_given_a_watch_when_wazuh_compiles_a_list_then_nothing_is_reloaded(places):
    watch = ruleset.Watch(places)
    watch.started()
    (places.home / "etc/lists/hosts.cdb").write_text("compiled")
    assert not watch.changed()
    assert not watch.changed()


def test_given_a_keeper_when_a_commit_is_refused_then_it_is_told_and_not_tried_at_once(
    places, analysis
):
    keeper = ruleset.Keeper(places)
    _fetch(places, rules__mine_xml="broken")
    keeper.look(Ruleset(_COMMIT), 0, running=True)
    assert keeper.report.commit is None
    assert "broken" in (keeper.report.error or "")
    _fetch(places, rules__mine_xml="<group/>")
    keeper.look(Ruleset(_COMMIT), 1, running=True)
    assert keeper.report.error is not None
    keeper.look(Ruleset(_COMMIT), 100, running=True)
    assert keeper.report == ruleset.Report(_COMMIT)
    loads = len(analysis.loads)
    for now in range(101, 110):
        keeper.look(Ruleset(_COMMIT), now, running=True)
    assert len(analysis.loads) == loads, "nothing changed, so nothing is done"


def test_given_a_keeper_on_a_worker_when_the_cluster_brings_rules_then_they_are_loaded(
    places, analysis
):
    keeper = ruleset.Keeper(places)
    keeper.look(None, 0, running=False)
    (places.home / "etc/rules/copied.xml").write_text("<group/>")
    for now in range(1, 5):
        keeper.look(None, now, running=True)
    assert analysis.loads == [{"copied.xml", "local_rules.xml"}]
