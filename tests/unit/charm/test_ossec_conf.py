"""ossec.conf: every block that Wazuh needs, and the ways it is known to misread one."""

import ipaddress
import re
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src import cluster, files

KEY = "k" * 32


def _render(unit="wazuh-server/1", master="wazuh-server/0", key=KEY):
    spec = files.Spec(
        unit=unit,
        names=cluster.Names("wazuh-server", "sec"),
        decision=cluster.Decision(1, master),
    )
    return files._ossec_conf(spec, key, spec.names.address(master))


def _tree(text: str) -> Element:
    builder, parser = TreeBuilder(), expat.ParserCreate()
    parser.StartElementHandler = lambda tag, attributes: builder.start(tag, attributes)
    parser.EndElementHandler = lambda tag: builder.end(tag)
    parser.CharacterDataHandler = builder.data
    parser.Parse(text, True)
    return builder.close()


@pytest.fixture(scope="module")
def text():
    return _render()


@pytest.fixture(scope="module")
def root(text):
    return _tree(text)


def test_given_the_text_when_parsed_then_it_is_one_root(root):
    assert root.tag == "ossec_config"


def test_given_agents_when_they_report_then_a_secure_listener_is_there(root):
    (remote,) = root.findall("remote")

    assert _values(remote) == {
        "connection": "secure",
        "port": "1514",
        "protocol": "tcp",
        "queue_size": "131072",
    }


def test_given_agents_when_they_enrol_then_a_password_is_asked_and_nothing_purged(root):
    (auth,) = root.findall("auth")

    values = _values(auth)
    assert values["disabled"] == "no"
    assert values["port"] == "1515"
    assert values["use_password"] == "yes"
    assert values["purge"] == "no"
    assert values["ssl_manager_cert"] == "etc/sslmanager.cert"
    assert values["ssl_manager_key"] == "etc/sslmanager.key"


def test_given_the_cluster_when_configured_then_each_option_is_named(root):
    (block,) = root.findall("cluster")

    values = _values(block)
    values.pop("nodes")
    assert ipaddress.ip_address(values.pop("bind_addr")).is_unspecified
    assert values == {
        "name": "wazuh",
        "node_name": "wazuh-server-1",
        "node_type": "worker",
        "key": KEY,
        "port": "1516",
        "hidden": "no",
        "disabled": "no",
    }
    assert [node.text for node in block.findall("nodes/node")] == [
        "wazuh-server-0.wazuh-server-endpoints.sec.svc.cluster.local"
    ]


@pytest.mark.parametrize(
    ("unit", "role"), [("wazuh-server/0", "master"), ("wazuh-server/7", "worker")]
)
def test_given_a_role_when_rendered_then_the_node_type_is_it(unit, role):
    root = _tree(_render(unit=unit))

    assert root.findtext("cluster/node_type") == role


def test_given_events_when_analysed_then_default_and_own_rules_are_read(root):
    (ruleset,) = root.findall("ruleset")

    assert [item.text for item in ruleset.findall("rule_dir")] == ["ruleset/rules", "etc/rules"]
    assert [item.text for item in ruleset.findall("decoder_dir")] == [
        "ruleset/decoders",
        "etc/decoders",
    ]
    assert ruleset.findtext("rule_exclude") == "0215-policy_rules.xml"
    assert "etc/lists/audit-keys" in [item.text for item in ruleset.findall("list")]


def test_given_alerts_when_raised_then_levels_and_formats_are_set(root):
    assert root.findtext("alerts/log_alert_level") == "3"
    assert root.findtext("global/jsonout_output") == "yes"
    assert root.findtext("global/alerts_log") == "yes"
    assert root.findtext("global/email_notification") == "no"


def test_given_a_closed_network_when_started_then_no_update_is_looked_for(root):
    assert root.findtext("global/update_check") == "no"


def test_given_active_responses_when_asked_for_then_the_vendors_commands_are_there(root):
    commands = {command.findtext("name"): command for command in root.findall("command")}

    assert set(commands) == {
        "disable-account",
        "restart-wazuh",
        "firewall-drop",
        "host-deny",
        "route-null",
        "win_route-null",
        "netsh",
    }
    assert all(command.findtext("executable") for command in commands.values())
    assert commands["restart-wazuh"].find("timeout_allowed") is None


def test_given_rule_tests_when_asked_for_then_they_are_enabled(root):
    assert root.findtext("rule_test/enabled") == "yes"


def test_given_logs_when_written_then_they_are_plain(root):
    assert root.findtext("logging/log_format") == "plain"


def test_given_no_indexer_when_rendered_then_vulnerability_detection_is_off(root):
    assert root.findtext("vulnerability-detection/enabled") == "no"
    assert root.find("indexer") is None


def test_given_syslog_senders_when_they_report_then_wazuh_reads_their_files(root):
    locations = {
        item.findtext("location"): item.findtext("log_format")
        for item in root.findall("localfile")
    }

    assert locations["/var/ossec/logs/senders/_all/*.log"] == "syslog"
    assert locations["/var/ossec/logs/active-responses.log"] == "syslog"


@pytest.mark.parametrize("tag", ["cluster", "auth"])
def test_given_the_init_script_when_it_greps_then_each_tag_stands_once_on_its_own_line(text, tag):
    # wazuh-control reads the file by line with grep and sed, comments too.
    for mark in (f"<{tag}>", f"</{tag}>"):
        lines = [line for line in text.splitlines() if mark in line]
        assert [line.strip() for line in lines] == [mark]


def test_given_the_block_when_read_by_the_daemons_in_c_then_it_is_not_minified(text):
    # Without any text between the tags a worker takes itself for a master.
    block = re.search(r"<cluster>.*</cluster>", text, re.DOTALL)

    assert block is not None
    lines = block.group().splitlines()
    assert len(lines) > 10
    assert all(line.startswith("    ") for line in lines[1:-1])


def test_given_comments_when_read_by_line_then_they_name_no_block(text):
    for comment in re.findall(r"<!--.*?-->", text, re.DOTALL):
        assert not re.search(r"</?(cluster|auth|email_notification|disabled)", comment)


def test_given_mail_is_off_when_the_init_script_looks_then_it_finds_it_on_one_line(text):
    assert "<email_notification>no<" in text


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["C"]), max_size=40))
def test_given_any_value_when_rendered_then_it_is_that_text_and_nothing_more(value):
    root = _tree(_render(key=value))

    assert (root.findtext("cluster/key") or "") == value
    assert len(root.findall("cluster")) == 1
    assert len(list(root.iter())) == len(list(_tree(_render()).iter()))


def _values(block):
    return {item.tag: (item.text or "").strip() for item in block}
