import json
import re
import signal
from pathlib import Path

import pytest

from sandbox.wazuh_stand_in.framework.wazuh.stand_in.ruleset import Rule, meet, read_rules
from tests.unit.stand_in.nodes import Node, Yard, until

RULE = """<group name="local,">
  <rule id="100100" level="{level}">
    <match>demo-word</match>
    <description>Own rule</description>
  </rule>
</group>
<group name="other,">
  <rule id="100101" level="10">
    <if_sid>100100</if_sid>
    <regex>from \\d+</regex>
    <description>Own child</description>
  </rule>
</group>
"""


def reload(node: Node) -> dict:
    return node.local(
        "queue/sockets/analysis",
        {"version": 1, "origin": {"module": "cluster"}, "command": "reload-ruleset"},
    )


def loaded(node: Node) -> list[str]:
    lines = [line for line in node.log().splitlines() if "rules loaded" in line]
    return lines[-1].partition("): ")[2].split()


def started(nodes: Yard, **changes: str) -> Node:
    node = nodes.node(cluster="", **changes)
    node.up("wazuh-analysisd")
    until(lambda: (node.home / "queue/sockets/queue").exists() and "rules loaded" in node.log())
    return node


def rule(number: int, level: int = 5, *, text: str = "", parents: tuple[int, ...] = ()) -> Rule:
    return Rule(number, level, "", (), (text,) if text else (), (), (), parents)


def test_given_a_new_rule_when_the_reload_is_asked_then_it_is_in_force_without_a_restart(
    nodes: Yard,
) -> None:
    node = started(nodes)
    before = node.pid("wazuh-analysisd")
    (node.home / "etc/rules/own.xml").write_text(RULE.format(level=7))

    answer = reload(node)

    assert answer == {"error": 0, "message": "ok", "data": []}
    assert {"100100", "100101", "5716"} <= set(loaded(node))
    assert node.pid("wazuh-analysisd") == before
    state = (node.home / "var/run/wazuh-analysisd.state").read_text()
    assert "ruleset_reloads='1'" in state


@pytest.mark.parametrize(
    "text",
    [
        "<group name='x'><rule id='1'",
        "<rule id='100100' level='3'/>",
        "<group name='x'><rule id='abc' level='3'/></group>",
        "<group name='x'><rule id='100100' level='99'/></group>",
        "<group name='x'><rule id='100100' level='3'><regex>(</regex></rule></group>",
    ],
)
def test_given_a_broken_rule_when_the_reload_is_asked_then_it_is_refused_and_the_old_stay(
    nodes: Yard,
    text: str,
) -> None:
    node = started(nodes)
    before = loaded(node)
    (node.home / "etc/rules/own.xml").write_text(text)

    answer = reload(node)

    assert (answer["error"], answer["message"]) == (1, "due")
    assert "etc/rules/own.xml" in answer["data"][0]
    assert loaded(node) == before


def test_given_a_broken_rule_when_everything_starts_then_it_is_refused(nodes: Yard) -> None:
    node = nodes.node(cluster="")
    (node.home / "etc/rules/own.xml").write_text("<group>")

    done = node.run("wazuh-control", "start")

    assert done.returncode == 1
    assert "wazuh-analysisd: Configuration error. Exiting" in done.stdout


def test_given_no_ruleset_block_when_started_then_no_rule_is_loaded(nodes: Yard) -> None:
    assert loaded(started(nodes, ruleset="")) == []


@pytest.mark.parametrize(
    ("request_", "error"),
    [({"command": "fly"}, 4), ({"version": 1}, 3), ({"command": "getstats"}, 0)],
)
def test_given_another_command_when_asked_then_the_error_is_the_real_one(
    nodes: Yard,
    request_: dict[str, object],
    error: int,
) -> None:
    assert started(nodes).local("queue/sockets/analysis", request_)["error"] == error


def test_given_parents_and_children_when_a_line_comes_then_the_furthest_down_is_met() -> None:
    rules = {
        1: rule(1, text="sshd"),
        2: rule(2, 3, text="Failed", parents=(1,)),
        3: rule(3, 12, text="never", parents=(2,)),
        4: rule(4, 9, text="sshd"),
    }

    assert meet(rules, "sshd: Failed password") == rules[2]
    assert meet(rules, "sshd: hello") == rules[4]
    assert meet(rules, "Failed password") is None


def test_given_rules_that_are_each_others_parents_when_a_line_comes_then_none_is_met() -> None:
    rules = {1: rule(1, text="x", parents=(2,)), 2: rule(2, text="x", parents=(1,))}

    assert meet(rules, "x") is None


@pytest.mark.parametrize(
    ("text", "line", "fits"),
    [
        ("^sshd", "sshd x", True),
        ("^sshd", "x sshd", False),
        ("one|two", "only two", True),
        ("end$", "the end", True),
        ("end$", "ended", False),
    ],
)
def test_given_a_match_when_a_line_comes_then_anchors_and_alternatives_count(
    text: str,
    line: str,
    fits: bool,
) -> None:
    assert rule(1, text=text).fits(line) is fits


def test_given_a_lines_file_when_written_then_the_line_arrives_as_archive_and_alert(
    nodes: Yard,
) -> None:
    node = nodes.node(cluster="")
    folder = node.home / "logs/senders"
    folder.mkdir()
    (folder / "old.log").write_text("sshd: Failed password before the start\n")
    path = node.home / "etc/ossec.conf"
    path.write_text(
        path.read_text().replace(
            "<auth>",
            """<localfile>
    <log_format>syslog</log_format>
    <location>logs/senders/*.log</location>
  </localfile>
  <auth>""",
            1,
        )
    )
    node.up("wazuh-analysisd", "wazuh-logcollector")
    until(lambda: "old.log" in node.log())

    with (folder / "old.log").open("a") as file:
        file.write("sshd: Failed password for root from 192.0.2.1 port 22\nhalf a line")
    (folder / "new.log").write_text("a line of no rule\n")

    archives = node.home / "logs/archives/archives.log"
    until(lambda: archives.exists() and "a line of no rule" in archives.read_text())
    alerts = (node.home / "logs/alerts/alerts.json").read_text()
    assert '"id": "100001"' in alerts
    assert "before the start" not in archives.read_text()
    assert "half a line" not in archives.read_text()
    node.tell("wazuh-logcollector", signal.SIGTERM)


def test_given_a_date_in_a_location_when_expanded_then_only_without_wildcards(
    nodes: Yard,
) -> None:
    from sandbox.wazuh_stand_in.framework.wazuh.stand_in.configuration import Node as Element
    from sandbox.wazuh_stand_in.framework.wazuh.stand_in.logcollector import paths

    def block(location: str) -> Element:
        made, child = Element("localfile"), Element("location")
        child.text = location
        made.children.append(child)
        return made

    home = nodes.node().home
    (home / "logs/a-%Y.log").touch()

    assert re.fullmatch(rf"{home}/logs/b-\d{{4}}\.log", paths(home, block("logs/b-%Y.log"))[0])
    assert paths(home, block("logs/?-%Y.log")) == [f"{home}/logs/a-%Y.log"]


def test_given_no_remote_block_when_started_then_nobody_listens_on_1514(nodes: Yard) -> None:
    node = nodes.node(cluster="", remote="")
    node.run("wazuh-remoted")

    until(lambda: "Remoted connection is not configured" in node.log())
    until(lambda: node.pid("wazuh-remoted") is None)


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ({"integration": "opencti", "opencti": {"event": "indicator", "value": "x"}}, 99401),
        ({"integration": "opencti", "opencti": {"event": "away", "reason": "x"}}, 99402),
        ({"integration": "opencti", "opencti": {"event": "another"}}, 99400),
        ({"integration": "virustotal", "opencti": {"event": "away"}}, None),
        ({"opencti": {"event": "indicator"}}, None),
        ("sshd[1]: Accepted password", None),
        ("[1]", None),
    ],
)
def test_given_the_image_s_own_rules_when_a_line_comes_then_only_their_events_meet_them(
    line: object, number: int | None
) -> None:
    home = Path(__file__).resolve().parents[3] / "rock/wazuh"
    path = home / "ruleset/rules/0996-opencti_rules.xml"
    rules = {rule.id: rule for rule in read_rules(path, home)}

    found = meet(rules, line if isinstance(line, str) else json.dumps(line))

    assert (found.id if found else None) == number
