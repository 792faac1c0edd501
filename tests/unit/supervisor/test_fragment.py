"""Who has to start again for which part of a repository's ossec.conf."""

from __future__ import annotations

import pytest
from supervisor import configuration
from supervisor.bundle import Bundle
from supervisor.fragment import ALL, parts

_LOCAL = "<localfile><location>/a</location></localfile>"
_WODLE = "<wodle name='command'><command>id</command></wodle>"


def _conf(*blocks: str) -> Bundle:
    text = "<ossec_config>\n" + "\n".join(blocks) + "\n</ossec_config>\n"
    return Bundle("ab" * 20, {"ossec.conf": text.encode()})


@pytest.mark.parametrize(
    ("block", "daemon"),
    [
        (_LOCAL, "wazuh-logcollector"),
        (_WODLE, "wazuh-modulesd"),
        ("<sca><enabled>no</enabled></sca>", "wazuh-modulesd"),
        ("<integration><name>slack</name></integration>", "wazuh-integratord"),
        ("<syslog_output><server>192.0.2.1</server></syslog_output>", "wazuh-csyslogd"),
        ("<email_alerts/>", "wazuh-maild"),
        ("<global><jsonout_output>yes</jsonout_output></global>", ALL),
        ("<command><name>x</name></command>", ALL),
        ("<syscheck/>", ALL),
        ("<remote></remote>", ALL),
        ("<something-new/>", ALL),
        ('<wodle name="agent-key-polling"></wodle>', ALL),
    ],
)
def test_given_a_block_when_added_changed_or_gone_then_who_reads_it_starts_again(block, daemon):
    without, there, other = _conf(), _conf(block), _conf(block, block)

    for old, new in ((without, there), (there, without), (without, other)):
        assert configuration.needs_restart(old, new)
        assert (configuration.whole(old) != configuration.whole(new)) == (daemon == ALL)
        changed = configuration.generations(old).items() ^ configuration.generations(new).items()
        assert {name for name, _ in changed} == ({daemon} - {ALL})


def test_given_comments_blanks_and_roots_that_move_when_compared_then_nobody_starts_again():
    text = f"<ossec_config>\n{_LOCAL}\n{_WODLE}</ossec_config>"
    moved = (
        f"<!-- why -->\n<ossec_config>{_LOCAL}</ossec_config><ossec_config>\n\n{_WODLE}<!-- x -->"
    )
    other = Bundle("cd" * 20, {"ossec.conf": f"{moved}</ossec_config>\n".encode()})

    assert not configuration.needs_restart(Bundle("ab" * 20, {"ossec.conf": text.encode()}), other)


@pytest.mark.parametrize(
    "text", [b"<ossec_config>a & b", b"\\<", b"<?xml version='1.0'?><a/>", b"\xff"]
)
def test_given_what_is_no_strict_xml_when_cut_then_it_is_everybody_s(text):
    assert parts(text) == {ALL: text}
