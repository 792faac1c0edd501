"""The small options: checked by one model, rendered, and each read by its own daemons alone."""

import json
import re
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import ops
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src import options, state
from tests.unit.charm.world import ROOT, Unit, leader

CONF = "/etc/wazuh-server/files/etc/ossec.conf"
MAIL = {
    "email-to": "soc@example.org, night@example.org",
    "email-from": "wazuh@example.org",
    "email-smtp-server": "mail.example.org",
}
WRONG = [
    ({"log-level": "loud"}, "log-level: not info, debug or trace"),
    ({"log-alert-level": 0}, "log-alert-level: not a number from 1 to 16"),
    ({"log-alert-level": 10**18}, "log-alert-level: not a number from 1 to 16"),
    ({"email-alert-level": -5}, "email-alert-level: not a number from 1 to 16"),
    ({"email-to": "soc@example.org"}, "email-to: needs email-from and email-smtp-server as well"),
    (MAIL | {"email-to": "a</email_to><x>@b"}, "email-to: not a list of e-mail addresses"),
    (MAIL | {"email-from": "nobody"}, "email-from: not an e-mail address"),
    (MAIL | {"email-smtp-server": "-oProxyCommand=id"}, "email-smtp-server: neither a host's"),
    ({"syslog-output": "siem.example.org:0"}, "syslog-output: a port is not a number"),
    ({"syslog-output": "siem.example.org:70000"}, "syslog-output: a port is not a number"),
    ({"syslog-output": "siem/xml"}, "syslog-output: a format is none of default"),
    ({"syslog-output": "::1"}, "syslog-output: not host"),
    ({"syslog-output": "[fe80::1%</server>]"}, "syslog-output: not host"),
    ({"syslog-output": "a</server>"}, "syslog-output: not host"),
    ({"agent-force-disconnected-time": "soon"}, "agent-force-disconnected-time: not a time"),
    ({"agent-force-after-registration-time": "-1h"}, "agent-force-after-registration-time: not"),
    ({"vulnerability-feed-url": "ftp://x/y"}, "vulnerability-feed-url: not an http, https"),
    ({"vulnerability-feed-url": "https://u:hunter22@x/y"}, "vulnerability-feed-url: not an http"),
]


def _conf(unit) -> Element:
    builder, parser = TreeBuilder(), expat.ParserCreate()
    parser.StartElementHandler = lambda tag, attributes: builder.start(tag, attributes)
    parser.EndElementHandler = lambda tag: builder.end(tag)
    parser.CharacterDataHandler = builder.data
    parser.Parse(unit.read(CONF), True)
    return builder.close()


def _set(unit, config):
    unit.configure(config=config)
    unit.run("config_changed")


def _changed(before, after):
    return {name for name in after if after[name] != before.get(name)}


def test_given_the_options_when_listed_then_model_and_charm_name_the_same():
    assert options.NAMES == state.SETTINGS


def test_given_the_declared_defaults_when_checked_then_they_are_the_models():
    text = (ROOT / "charmcraft.yaml").read_text()
    found = re.findall(r"    ([a-z-]+):\n      type: \w+\n      default: (.*)\n", text)
    declared = {name: json.loads(_json(value)) for name, value in found}

    values, _, problems = options.parse(declared, {})

    assert problems == {}
    assert values == options.Options()


def _json(value):
    return value if re.fullmatch(r'true|false|\d+|".*"', value) else json.dumps(value)


@pytest.mark.parametrize(
    ("config", "daemons"),
    [
        ({"log-alert-level": 7}, {"wazuh-analysisd"}),
        (MAIL, {"wazuh-analysisd", "wazuh-maild", "wazuh-monitord"}),
        ({"syslog-output": "siem:1514/json,[2001:db8::1]"}, {"wazuh-csyslogd"}),
        ({"agent-force": False}, {"wazuh-authd"}),
        ({"agent-force-disconnected-time": "7d"}, {"wazuh-authd"}),
        ({"vulnerability-detection": True}, {"wazuh-modulesd"}),
        ({"vulnerability-feed-url": "https://mirror.example.org/cve.zip"}, {"wazuh-modulesd"}),
    ],
)
def test_given_a_good_value_when_set_then_its_daemons_alone_are_restarted(
    tmp_path, config, daemons
):
    unit = leader(tmp_path)
    before, environment, text = unit.desired["generations"], unit.environment, unit.read(CONF)

    _set(unit, config)

    assert _changed(before, unit.desired["generations"]) == daemons
    assert unit.environment == environment
    assert unit.read(CONF) != text
    assert isinstance(unit.status, ops.ActiveStatus)
    _set(unit, {})
    assert unit.read(CONF) == text
    assert unit.desired["generations"] == before


def test_given_values_when_rendered_then_wazuh_s_elements_hold_them(tmp_path):
    unit = leader(tmp_path)

    _set(unit, MAIL | {"syslog-output": "siem:1514/json", "agent-force": False})

    conf = _conf(unit)
    assert [e.text for e in conf.findall("global/email_to")] == [
        "soc@example.org",
        "night@example.org",
    ]
    assert conf.findtext("global/email_notification") == "yes"
    assert conf.findtext("syslog_output/server") == "siem"
    assert conf.findtext("syslog_output/port") == "1514"
    assert conf.findtext("auth/force/enabled") == "no"


def test_given_another_log_level_when_set_then_everything_is_restarted(tmp_path):
    unit = leader(tmp_path)
    environment = dict(unit.environment)

    _set(unit, {"log-level": "debug"})

    path = "/etc/wazuh-server/files/etc/local_internal_options.conf"
    assert "analysisd.debug=1\n" in unit.read(path)
    assert unit.environment != environment


@pytest.mark.parametrize(("config", "reason"), WRONG)
def test_given_a_wrong_value_when_set_then_it_is_blocked_and_the_last_good_runs(
    tmp_path, config, reason
):
    unit = leader(tmp_path)
    _set(unit, {"log-alert-level": 9})
    good, environment = unit.read(CONF), unit.environment

    _set(unit, {"log-alert-level": 9} | config)

    assert unit.status.name == "blocked"
    assert unit.status.message.startswith(reason)
    assert "hunter22" not in unit.status.message
    assert unit.read(CONF) == good or set(config) > {"email-to"}
    assert unit.environment == environment
    unit.run("config_changed")
    assert unit.writes == {}
    assert unit.status.message.startswith(reason)
    _set(unit, {"log-alert-level": 9})
    assert isinstance(unit.status, ops.ActiveStatus)
    assert unit.read(CONF) == good


def test_given_a_wrong_value_when_first_deployed_then_it_runs_with_the_default(tmp_path):
    unit = Unit(tmp_path, config={"log-alert-level": 99})

    unit.run("pebble_ready")
    unit.report()
    unit.run("update_status")

    assert _conf(unit).findtext("alerts/log_alert_level") == "3"
    assert unit.status == ops.BlockedStatus("log-alert-level: not a number from 1 to 16")


_ANY = st.one_of(st.text(max_size=40), st.integers(), st.booleans(), st.floats())


@given(
    st.dictionaries(st.sampled_from(state.SETTINGS), _ANY),
    st.dictionaries(st.sampled_from(state.SETTINGS), _ANY),
)
def test_given_anything_when_checked_then_values_and_reasons_come_and_no_error(raw, good):
    values, taken, problems = options.parse(raw, good)

    assert set(problems) <= set(state.SETTINGS)
    assert all("\n" not in reason for reason in problems.values())
    assert options.parse(taken, {})[0] == values or problems
