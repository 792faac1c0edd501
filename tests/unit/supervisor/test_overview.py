"""What a unit writes down of all that it hears."""

from __future__ import annotations

import json
from pathlib import Path

from supervisor.machine import Answer, Keys, Term
from supervisor.overview import Overview
from supervisor.places import Places


def test_given_answers_when_written_then_silence_is_told_and_nothing_is_written_twice(
    tmp_path: Path,
):
    term = Term(2, "wazuh-server-1")
    own = Answer("wazuh-server-0", term, phase="serving", keys=Keys(agents=7), tree="ab" * 20)
    others = [
        Answer("wazuh-server-1", term, phase="serving", keys=Keys(agents=8), heard=99.0),
        Answer("wazuh-server-2", term, phase="starting", heard=90.0),
    ]
    written = Overview(Places(run=tmp_path), hearing=3.5)

    written.write(own, others, 100.0)

    path = tmp_path / "overview.json"
    first = path.stat()
    nodes = json.loads(path.read_text())["nodes"]
    assert [node["node"] for node in nodes] == [f"wazuh-server-{n}" for n in range(3)]
    assert [node["role"] for node in nodes] == ["worker", "master", "worker"]
    assert [node["heard"] for node in nodes] == [True, True, False]
    assert [node["agents"] for node in nodes] == [7, 8, 0]
    assert nodes[0]["commit"] == "ab" * 20
    written.write(own, others, 102.4)
    assert path.stat().st_mtime_ns == first.st_mtime_ns
    written.write(own, others[:1], 105.0)
    assert path.stat().st_mtime_ns != first.st_mtime_ns
