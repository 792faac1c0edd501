"""The integration custom-opencti-lookup, against a stand-in of GraphQL over real TLS."""

import contextlib
import dataclasses
import datetime
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from xml.etree.ElementTree import TreeBuilder
from xml.parsers import expat

import pytest
from opencti import lookup

from src import certificates
from tests.unit.opencti.graphql_stand_in import TOKEN, reply, serving

ROOT = Path(__file__).resolve().parents[3]
NOW = datetime.datetime.now(datetime.UTC)
EVIL = "8.8.4.4"
SHA = "ab" * 32


def indicator(number=1, **changes):
    content = {
        "id": f"indicator-{number}",
        "name": "Evil",
        "pattern": f"[ipv4-addr:value = '{EVIL}']",
        "revoked": False,
        "valid_until": "2999-01-01T00:00:00.000Z",
        "x_opencti_score": 50,
    }
    return content | changes


ALERT = {
    "id": "1700000000.1",
    "rule": {"id": "5715", "level": 3, "description": "sshd: authentication success."},
    "agent": {"id": "003", "name": "web|01", "ip": "fe80::3"},
    "data": {"srcip": EVIL},
}


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    """Make an authority, and a certificate of localhost's that it issued."""
    folder = tmp_path_factory.mktemp("pki")
    root = certificates.make_authority("cti", NOW)
    usages = (certificates.SERVER,)
    leaf = certificates.issue(root, "localhost", hosts=("localhost",), usages=usages, now=NOW)
    (folder / "ca.crt").write_text(root.certificate)
    (folder / "server.pem").write_text(leaf.certificate + leaf.private_key)
    return folder


@pytest.fixture
def opencti(pki):
    with serving(pki / "server.pem") as stand_in:
        yield stand_in


class Called:
    """Calls the integration as wazuh-integratord does, and hears what analysisd is given."""

    def __init__(self, folder, pki, url):
        for name in ("queue/sockets", "var/run"):
            (folder / name).mkdir(parents=True)
        self.folder = folder
        self.places = lookup.Places(folder / "opencti.json", folder, pki / "ca.crt", 5.0)
        self.places.configuration.write_text(json.dumps({"url": url, "token": TOKEN}))
        self.queue = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.queue.bind(os.path.relpath(self.places.queue))
        self.queue.setblocking(False)

    def __call__(self, alert=ALERT, **places):
        path = self.folder / "one.alert"
        path.write_text(alert if isinstance(alert, str) else json.dumps(alert) + "\n")
        before = time.monotonic()
        status = lookup.main(
            ["integrations", str(path), "", ""], dataclasses.replace(self.places, **places)
        )
        self.took = time.monotonic() - before
        return status

    def messages(self):
        found = []
        while True:
            try:
                found.append(self.queue.recv(65536).decode())
            except BlockingIOError:
                return found

    def events(self):
        return [json.loads(text[text.index("{") :])["opencti"] for text in self.messages()]


@pytest.fixture
def call(tmp_path, monkeypatch, pki, opencti):
    # A socket's path is short: it is named from where the tests stand.
    monkeypatch.chdir(tmp_path)
    called = Called(tmp_path, pki, opencti.url)
    called.places = dataclasses.replace(called.places, home=Path())
    yield called
    called.queue.close()


def test_given_an_address_that_is_known_when_called_then_analysisd_hears_of_it(call, opencti):
    opencti.indicators = [indicator()]

    assert call() == 0

    (message,) = call.messages()
    where, _, text = message.partition("->opencti:")
    # As analysisd reads it: `|` before a colon that is part of the name.
    assert where == "1:[003] (web||01) fe80|:|:3"
    assert json.loads(text) == {
        "integration": "opencti",
        "opencti": {
            "event": "indicator",
            "kind": "ipv4-addr",
            "value": EVIL,
            "name": "Evil",
            "indicator": "indicator-1",
            "score": 50,
            "source": {
                "alert": "1700000000.1",
                "rule": "5715",
                "description": "sshd: authentication success.",
            },
        },
    }
    assert TOKEN not in message
    assert len(opencti.asked) == 1


def test_given_a_file_s_hashes_when_an_observable_has_one_then_its_indicator_is_reported(
    call, opencti
):
    known = indicator(2, pattern="[file:size = 1 AND file:name = 'x']")
    file = {
        "observable_value": "evil.exe",
        "hashes": [{"algorithm": "SHA-256", "hash": SHA}],
        "indicators": [known],
    }
    opencti.observables = [file]
    alert = {"agent": {"id": "000"}, "syscheck": {"sha256_after": SHA.upper()}}

    assert call(alert) == 0

    (message,) = call.messages()
    assert message.startswith("1:opencti:{")
    assert json.loads(message[10:])["opencti"]["value"] == SHA


def test_given_nothing_known_when_called_then_nothing_is_said(call, opencti):
    opencti.indicators = [indicator(pattern="[ipv4-addr:value = '8.8.4.5']")]

    assert call() == 0
    assert call({"data": {"srcip": "10.0.0.1"}}) == 0
    assert call({"rule": {}}) == 0

    assert call.messages() == []
    assert len(opencti.asked) == 1, "an alert that names nothing from outside asks nothing"


def test_given_many_indicators_when_called_then_those_that_hold_are_reported_the_worst_first(
    call, opencti
):
    opencti.indicators = [
        *(indicator(n, x_opencti_score=n) for n in range(9)),
        indicator(20, revoked=True, x_opencti_score=100),
        indicator(21, valid_until="2020-01-01T00:00:00.000Z", x_opencti_score=100),
    ]
    opencti.observables = [
        {"observable_value": EVIL, "indicators": [indicator(8, x_opencti_score=8)]}
    ]

    assert call() == 0

    assert [event["score"] for event in call.events()] == [8, 7, 6, 5, 4]


def test_given_more_than_was_asked_for_when_answered_then_it_is_not_reported(call, opencti):
    known = indicator(pattern="[ipv4-addr:value = '8.8.4.44']")
    nodes = {"edges": [{"node": known}]}
    seen = {"edges": [{"node": {"observable_value": "8.8.4.44", "indicators": nodes}}]}
    data = {"data": {"indicators": nodes, "stixCyberObservables": seen}}
    opencti.answer = lambda handler: reply(handler, data)

    assert call() == 0

    assert call.messages() == []


def test_given_its_own_alert_when_called_then_it_asks_nothing(call, opencti):
    opencti.indicators = [indicator()]

    assert call({**ALERT, "data": {"integration": "opencti", "opencti": {"value": EVIL}}}) == 0

    assert (opencti.asked, call.messages()) == ([], [])


def test_given_no_relation_any_more_when_called_then_it_ends_in_silence(call, opencti):
    for text in ("", "[]", '{"url": 1, "token": 2}', '{"url": "https://x", "token": "a\\nb"}'):
        call.places.configuration.write_text(text)
        assert call() == 0
    call.places.configuration.unlink()
    assert call() == 0

    assert (opencti.asked, call.messages()) == ([], [])


@pytest.mark.parametrize(
    "alert", ["", "{", "[]", "null", "[" * 100_000, "{}", '{"data": 1}', "x" * 300_000]
)
def test_given_an_alert_that_is_none_when_called_then_it_ends_in_silence(call, opencti, alert):
    assert call(alert) == 0
    assert lookup.main(["integrations", "/does/not/exist"], call.places) == 0
    assert lookup.main([], call.places) == 0

    assert (opencti.asked, call.messages()) == ([], [])


def _drip(handler):
    """Send a byte now and then, so that no single wait is long."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    try:
        for _ in range(100):
            handler.wfile.write(b" ")
            time.sleep(0.1)
    except OSError:
        return


def _flood(handler):
    """Send without an end."""
    handler.send_response(200)
    handler.end_headers()
    with contextlib.suppress(OSError):
        while True:
            handler.wfile.write(b" " * 65536)


def _redirect(handler):
    handler.send_response(302)
    handler.send_header("Location", "/elsewhere")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda h: reply(h, {}, 500), "it answers 500"),
        (lambda h: reply(h, {}, 403), "it refuses the token"),
        (_redirect, "it answers 302"),
        (lambda h: reply(h, b"<html>"), "its answer is no JSON"),
        (lambda h: reply(h, b"[" * 100_000), "its answer is no JSON"),
        (lambda h: reply(h, b" " * (1024 * 1024 + 1)), "its answer is too long"),
        (lambda h: reply(h, {"errors": [{"message": f"no {TOKEN}"}]}), "it refuses the question"),
        (lambda h: h.wfile.write(b"\0" * 70_000), "it cannot be reached"),
        (_flood, "its answer is too long"),
        (_drip, "it does not answer in time"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_given_an_opencti_that_fails_when_called_then_it_says_why_and_rests_for_a_minute(
    call, opencti, answer, reason
):
    opencti.answer = answer

    assert call(seconds=2.0) == 0

    assert call.took < 4
    assert call.events() == [{"event": "away", "reason": reason}]
    asked = len(opencti.asked)
    assert call() == 0
    assert (len(opencti.asked), call.messages()) == (asked, [])
    opencti.answer, opencti.indicators = None, [indicator()]
    past = time.time() - lookup.PAUSE - 1
    os.utime(call.places.away, (past, past))
    assert call() == 0
    assert len(call.events()) == 1
    assert not call.places.away.exists()


@pytest.mark.parametrize(
    "answer",
    [
        *({}, [], None, 1, "x", {"data": None}, {"data": {"indicators": [1]}}),
        {"data": {"indicators": {"edges": [None, {"node": 1}, {"node": {"id": 1}}]}}},
        {"data": {"stixCyberObservables": {"edges": [{"node": {"hashes": 1}}]}}},
    ],
)
def test_given_json_of_another_shape_when_answered_then_nothing_is_reported(call, opencti, answer):
    opencti.answer = lambda handler: reply(handler, answer)

    assert call() == 0

    assert call.messages() == []


def test_given_a_token_that_is_refused_when_called_then_it_says_so_without_it(call, opencti):
    call.places.configuration.write_text(
        json.dumps({"url": opencti.url, "token": "another-token"})
    )

    assert call() == 0

    (message,) = call.messages()
    assert '"it refuses the token"' in message
    assert "another-token" not in message


def test_given_a_certificate_of_somebody_else_s_when_called_then_the_token_is_not_sent(
    call, opencti, tmp_path
):
    other = tmp_path / "other.crt"
    other.write_text(certificates.make_authority("other", NOW).certificate)

    assert call(authorities=other) == 0

    assert call.events() == [{"event": "away", "reason": "its certificate is not to be trusted"}]
    assert opencti.headers == []


def test_given_a_certificate_of_another_name_when_called_then_the_token_is_not_sent(call, opencti):
    url = opencti.url.replace("localhost", "127.0.0.1")
    call.places.configuration.write_text(json.dumps({"url": url, "token": TOKEN}))

    assert call() == 0

    assert call.events() == [{"event": "away", "reason": "its certificate is not to be trusted"}]
    assert opencti.headers == []


def test_given_an_address_of_http_when_the_charm_let_it_pass_then_it_is_asked(call):
    with serving(None) as plain:
        plain.indicators = [indicator()]
        call.places.configuration.write_text(json.dumps({"url": plain.url, "token": TOKEN}))

        assert call() == 0

        assert len(call.events()) == 1


def test_given_nobody_listening_when_called_then_it_cannot_be_reached(call):
    call.places.configuration.write_text(
        json.dumps({"url": "https://localhost:1/cti", "token": TOKEN})
    )

    assert call() == 0

    assert call.events() == [{"event": "away", "reason": "it cannot be reached"}]


def test_given_an_analysisd_that_is_gone_when_called_then_integratord_is_told(call, opencti):
    opencti.indicators = [indicator()]
    call.queue.close()
    call.places.queue.unlink()

    assert call() == 1

    call.queue = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)


def test_given_the_program_itself_when_run_then_it_reports_and_prints_nothing(
    call, opencti, pki, tmp_path
):
    """Start it as integratord does, with places of the test's in the image's stead."""
    opencti.indicators = [indicator()]
    script = (ROOT / "rock/wazuh/integrations/custom-opencti-lookup").read_text()
    first, _, rest = script.partition("\n")
    assert first == "#!/var/ossec/framework/python/bin/python3 -IS"
    places = (
        "from pathlib import Path; from opencti import lookup; "
        f"Places = lambda: lookup.Places(Path({str(tmp_path / 'opencti.json')!r}), Path(), "
        f"Path({str(pki / 'ca.crt')!r})); "
        "lookup.main.__defaults__ = (Places(),)\n"
    )
    moved = rest.replace('"/opt/wazuh-server"', repr(str(ROOT / "rock")))
    end = "sys.exit(main(sys.argv))"
    assert moved.rstrip().endswith(end)
    (tmp_path / "alert").write_text(json.dumps(ALERT))

    done = subprocess.run(
        [sys.executable, "-IS", "-c", moved.replace(end, places + end), tmp_path / "alert"],
        capture_output=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert len(call.events()) == 1


def test_given_its_rules_when_read_then_each_event_has_one_and_wazuh_has_no_such_number():
    builder, parser = TreeBuilder(), expat.ParserCreate()
    parser.StartElementHandler = lambda tag, attributes: builder.start(tag, attributes)
    parser.EndElementHandler = lambda tag: builder.end(tag)
    parser.CharacterDataHandler = builder.data
    parser.Parse((ROOT / "rock/wazuh/ruleset/rules/0996-opencti_rules.xml").read_bytes(), True)
    rules = builder.close()

    matched = {rule.findtext("field"): rule.get("level") for rule in rules}
    assert matched == {"^opencti$": "0", "^indicator$": "12", "^away$": "5"}
    assert all(99400 <= int(rule.get("id", 0)) <= 99499 for rule in rules)
    # A group that is looked up would lead from each report to the next question.
    from src import files

    assert not {*rules.get("name", "").split(",")} & {*files._LOOKED_UP}


def test_given_calls_at_once_when_they_end_then_each_has_reported(call, opencti):
    opencti.indicators = [indicator()]
    (call.folder / "same.alert").write_text(json.dumps(ALERT))
    statuses = []

    def run():
        arguments = ["integrations", str(call.folder / "same.alert")]
        statuses.append(lookup.main(arguments, call.places))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert statuses == [0] * 4
    assert len(call.events()) == 4
