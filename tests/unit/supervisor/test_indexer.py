"""The indexer: Wazuh's credentials for it, its presence, and lines sent on by a stand-in."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import http.client
import ipaddress
import json
import os
import ssl
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from hypothesis import given
from hypothesis import strategies as st
from supervisor import indexer, processes
from supervisor.places import Places

from sandbox.indexer_stand_in import filebeat, opensearch
from sandbox.wazuh_stand_in import build
from src import filebeat as rendered
from src.secrets import Indexer
from tests.unit.ports import free_port
from tests.unit.supervisor import certificates
from tests.unit.supervisor.fake_wazuh import Fake, _script

PASSWORD = "pa$$w${HOME}rd-Ö"
TOOL = """#!{python}
import json, sys
home = {home!r}
if len(sys.argv) != 5 or sys.argv[1:3] != ["-f", "indexer"] or sys.argv[3] != "-k":
    sys.exit(1)
open(home + "/logs/stored", "a").write(json.dumps([sys.argv[4], sys.stdin.readline()]) + "\\n")
open(home + "/queue/keystore/000001.log", "a").write("x")
"""


def wait(condition: Callable[[], bool]) -> None:
    assert processes.wait_until(condition, 60.0, 0.05)


@dataclasses.dataclass
class Stand:
    """A stand-in OpenSearch that can go away and come back, with what it holds."""

    settings: opensearch.Settings
    authority: str
    server: ThreadingHTTPServer | None = None

    def __post_init__(self) -> None:
        self.come()

    def come(self) -> None:
        self.server = opensearch.serve(self.settings)

    def go(self) -> None:
        assert self.server
        self.server.shutdown()
        self.server.server_close()
        self.server = None

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.settings.port}"

    def documents(self) -> list[dict]:
        return [*opensearch.documents(Path(self.settings.store))]

    def lines(self) -> list[int]:
        return [one["_source"]["n"] for one in self.documents()]


def _leaf(authority: certificates.Pair) -> certificates.Pair:
    """Issue a certificate for 127.0.0.1."""
    pair = certificates.issue("indexer", authority)
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = (
        x509.CertificateBuilder()
        .subject_name(pair.certificate.subject)
        .issuer_name(authority.certificate.subject)
        .public_key(pair.key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=9))
        .add_extension(address, False)
        .sign(authority.key, hashes.SHA256())
    )
    return certificates.Pair(signed, pair.key)


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    authority = certificates.issue("authority")
    leaf = _leaf(authority)
    (tmp_path / "leaf.crt").write_bytes(leaf.pem())
    (tmp_path / "leaf.key").write_bytes(leaf.key_pem())
    settings = opensearch.Settings(
        certificate=str(tmp_path / "leaf.crt"),
        key=str(tmp_path / "leaf.key"),
        username="filebeat",
        password=PASSWORD,
        store=str(tmp_path / "documents"),
        port=free_port(),
    )
    made = Stand(settings, authority.pem().decode())
    opensearch.Index(tmp_path / "documents").override(True)
    yield made
    if made.server:
        made.go()


def _told(stand: Stand, **changes: object) -> dict:
    return {
        "hosts": [stand.url],
        "username": "filebeat",
        "password": PASSWORD,
        "authority": stand.authority,
        **changes,
    }


def _tell(fake: Fake, content: dict) -> None:
    (fake.places.orders / "indexer.json").write_text(json.dumps(content))


@pytest.fixture
def keystore(fake: Fake) -> Fake:
    (fake.home / "queue/keystore").mkdir()
    _script(
        fake.home / "bin/wazuh-keystore", TOOL.format(python=sys.executable, home=str(fake.home))
    )
    fake.places.own.mkdir(parents=True)
    return fake


def _stored(fake: Fake) -> list[list[str]]:
    path = fake.home / "logs/stored"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_given_credentials_when_given_then_the_tool_reads_them_from_its_input_once(
    keystore: Fake, stand: Stand
):
    _tell(keystore, _told(stand))
    for _ in range(3):
        indexer.give_credentials(keystore.places, "one", dict(os.environ))

    assert _stored(keystore) == [["username", "filebeat\n"], ["password", PASSWORD + "\n"]]


def test_given_another_generation_when_given_then_they_are_stored_again(
    keystore: Fake, stand: Stand
):
    _tell(keystore, _told(stand))
    indexer.give_credentials(keystore.places, "one", dict(os.environ))
    _tell(keystore, _told(stand, password="another"))

    indexer.give_credentials(keystore.places, "two", dict(os.environ))

    assert _stored(keystore)[-1] == ["password", "another\n"]


def test_given_no_indexer_any_more_when_given_then_the_store_is_empty(
    keystore: Fake, stand: Stand
):
    _tell(keystore, _told(stand))
    indexer.give_credentials(keystore.places, "one", dict(os.environ))
    (keystore.places.orders / "indexer.json").unlink()

    indexer.give_credentials(keystore.places, "", dict(os.environ))

    assert list((keystore.home / "queue/keystore").iterdir()) == []
    indexer.give_credentials(keystore.places, "", dict(os.environ))
    assert len(_stored(keystore)) == 2


def test_given_a_tool_that_fails_when_given_then_it_is_tried_again_and_no_value_is_logged(
    keystore: Fake, stand: Stand, caplog
):
    _tell(keystore, _told(stand))
    tool = keystore.home / "bin/wazuh-keystore"
    right = tool.read_text()
    _script(tool, "#!/bin/sh\nexit 1\n")
    indexer.give_credentials(keystore.places, "one", dict(os.environ))
    assert "could not be stored" in caplog.text
    assert PASSWORD not in caplog.text
    tool.unlink()
    indexer.give_credentials(keystore.places, "one", dict(os.environ))
    _script(tool, right)

    indexer.give_credentials(keystore.places, "one", dict(os.environ))

    assert len(_stored(keystore)) == 2


@pytest.mark.parametrize("text", ["", "[]", '"x"', '{"hosts": 3}', "\0", "null"])
def test_given_rubbish_when_loaded_then_there_is_no_indexer(tmp_path: Path, text: str):
    (tmp_path / "indexer.json").write_text(text)
    assert indexer.load(tmp_path) is None


def test_given_a_supervisor_when_an_indexer_comes_and_goes_then_its_reader_alone_follows(
    keystore: Fake, stand: Stand
):
    fake = keystore
    generations = {"users": "u", "wazuh-modulesd": "m0"}
    fake.order(generations=generations)
    fake.start()
    wait(lambda: fake.state()["phase"] == "serving")
    _tell(fake, _told(stand))
    fake.order(generations={**generations, "wazuh-modulesd": "m1", "indexer": "i1"})

    wait(lambda: len(_stored(fake)) == 2)
    wait(lambda: _started(fake).count("wazuh-modulesd") == 2)
    (fake.places.orders / "indexer.json").unlink()
    fake.order(generations=generations)
    wait(lambda: _started(fake).count("wazuh-modulesd") == 3)

    assert not (fake.home / "queue/keystore/000001.log").exists()
    assert {_started(fake).count(name) for name in ("wazuh-remoted", "wazuh-apid")} == {1}


def _started(fake: Fake) -> list[str]:
    return [line.split()[0] for line in (fake.home / "logs/started").read_text().splitlines()]


def test_given_an_indexer_when_it_goes_and_comes_then_it_is_told_since_when_and_why(
    fake: Fake, stand: Stand
):
    watch = indexer.Watch(fake.places)
    watch.look()
    assert watch.absence is None
    _tell(fake, _told(stand))
    watch.look()
    assert watch.absence is None
    stand.go()
    watch.look()
    away = watch.absence
    assert away is not None
    assert away.reason == "it cannot be reached"
    assert datetime.datetime.fromisoformat(away.since).tzinfo is not None
    stand.come()
    _tell(fake, _told(stand, password="wrong"))
    watch.look()
    assert watch.absence == indexer.Absence(away.since, "it refuses the user")
    _tell(fake, _told(stand))
    watch.look()
    assert watch.absence is None


SETTING = "compatibility.override_main_response_version"


def _set(stand: Stand, content: object) -> int:
    context = ssl.create_default_context(cadata=stand.authority)
    pair = base64.b64encode(f"filebeat:{PASSWORD}".encode()).decode()
    connection = http.client.HTTPSConnection("127.0.0.1", stand.settings.port, context=context)
    headers = {"Authorization": f"Basic {pair}"}
    connection.request("PUT", "/_cluster/settings", json.dumps(content), headers)
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.mark.parametrize(
    "nested", [{SETTING: True}, {"compatibility": {"override_main_response_version": True}}]
)
def test_given_opensearch_2_as_it_comes_when_alerts_come_then_they_wait_until_it_is_set(
    tmp_path: Path, fake: Fake, stand: Stand, nested: dict
):
    assert _set(stand, {"persistent": {SETTING: False}}) == 200
    watch = indexer.Watch(fake.places)
    _tell(fake, _told(stand))
    with _filebeat(tmp_path, stand) as alerts:
        _alert(alerts, *range(10))
        wait(lambda: "unknown parameter [_type]" in (tmp_path / "filebeat.log").read_text())
        watch.look()
        assert watch.absence is not None
        assert watch.absence.reason == f"OpenSearch 2.19.4 needs the setting {SETTING}: true"
        assert stand.lines() == []
        assert _set(stand, {"persistent": nested}) == 200
        wait(lambda: stand.lines() == [*range(10)])
    watch.look()
    assert watch.absence is None


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ({"number": "7.10.2"}, ""),
        ({"number": "1.3.20"}, f"OpenSearch 1.3.20 needs the setting {SETTING}: true"),
        (
            {"number": "3.1.0"},
            "OpenSearch 3.1.0 takes nothing from Filebeat 7.10, OpenSearch 2 does",
        ),
        (
            {"number": "2." + "\n" * 9 + "9" * 99},
            f"OpenSearch 2.{'9' * 18} needs the setting {SETTING}: true",
        ),
        ({"number": "x"}, "it does not tell its version"),
        ({"number": 2}, "OpenSearch 2 needs the setting " + SETTING + ": true"),
        ({}, "it does not tell its version"),
        ("2.19", "it does not tell its version"),
        (None, "it does not tell its version"),
    ],
)
def test_given_a_version_when_presented_then_it_is_said_what_filebeat_makes_of_it(version, reason):
    assert indexer._unfit(json.dumps({"version": version}).encode()) == reason


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"<html>", b"\xff", b"[" * 60_000])
def test_given_who_is_no_opensearch_when_it_answers_then_it_is_said(body: bytes):
    assert indexer._unfit(body) == "it does not tell its version"


def test_given_a_certificate_of_somebody_else_when_asked_then_nothing_is_told_it(stand: Stand):
    other = certificates.issue("other").pem().decode()

    assert indexer.ask(indexer.Indexer((stand.url,), "filebeat", PASSWORD, other)) == (
        "its certificate is not the one that was announced"
    )
    unreadable = indexer.Indexer((stand.url,), "filebeat", PASSWORD, "x")
    assert indexer.ask(unreadable) == "its authority cannot be read"


def test_given_one_host_away_when_asked_then_the_other_is_enough(stand: Stand):
    hosts = (f"https://127.0.0.1:{free_port()}", stand.url)

    assert indexer.ask(indexer.Indexer(hosts, "filebeat", PASSWORD, stand.authority)) == ""


def test_given_a_volume_when_looked_at_then_filebeat_has_a_folder_of_its_own(fake: Fake):
    fake.places.own.mkdir(parents=True)

    indexer.Watch(fake.places).look()

    assert stat.S_IMODE((fake.places.keep / "filebeat").stat().st_mode) == 0o700


def test_given_the_stand_in_for_wazuh_when_given_credentials_then_its_connector_sends(
    tmp_path: Path, stand: Stand
):
    home = tmp_path / "ossec"
    build(home, Path(sys.executable))
    places = Places(home=home, orders=tmp_path)
    places.own.mkdir(parents=True)
    (tmp_path / "indexer.json").write_text(json.dumps(_told(stand)))
    (home / "etc/ca.pem").write_text(stand.authority)
    (home / "etc/ossec.conf").write_text(CONF.format(url=stand.url, ca=home / "etc/ca.pem"))

    indexer.give_credentials(places, "one", dict(os.environ))
    process = subprocess.Popen([home / "bin/wazuh-modulesd", "-f"], env=dict(os.environ))
    try:
        wait(lambda: [one["_index"] for one in stand.documents()] == ["wazuh-states-stand-in"])
    finally:
        process.terminate()
        process.wait()

    indexer.give_credentials(places, "", dict(os.environ))
    assert list((home / "queue/keystore").iterdir()) == []


CONF = """<ossec_config>
  <indexer>
    <enabled>yes</enabled>
    <hosts>
      <host>{url}</host>
    </hosts>
    <ssl>
      <certificate_authorities>
        <ca>{ca}</ca>
      </certificate_authorities>
    </ssl>
  </indexer>
</ossec_config>
"""


# Lines sent on ---------------------------------------------------------------------------------


@contextmanager
def _filebeat(tmp_path: Path, stand: Stand, password: str = PASSWORD) -> Iterator[Path]:
    """Run the stand-in with what the charm renders; it ends with the block."""
    (tmp_path / "ca.crt").write_text(stand.authority)
    found = Indexer((stand.url,), "filebeat", password, stand.authority)
    path = tmp_path / "filebeat.yml"
    path.write_text(rendered.configuration(found, str(tmp_path / "ca.crt")))
    path.chmod(0o400)
    (tmp_path / "data").mkdir(exist_ok=True)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from sandbox.indexer_stand_in import filebeat\n"
        "sys.exit(filebeat.run(*map(Path, sys.argv[2:]), pause=0.05))\n"
    )
    alerts = tmp_path / "alerts.json"
    root = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-c", code, root, path, tmp_path / "data", alerts]
    with (tmp_path / "filebeat.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield alerts
    finally:
        process.kill()
        process.wait()
        path.unlink()


def _alert(alerts: Path, *numbers: int) -> None:
    with alerts.open("a") as file:
        file.writelines(json.dumps({"n": number}) + "\n" for number in numbers)


def test_given_an_indexer_away_and_back_when_alerts_come_then_each_is_there_once(
    tmp_path: Path, stand: Stand
):
    with _filebeat(tmp_path, stand) as alerts:
        _alert(alerts, *range(120))
        wait(lambda: len(stand.lines()) == 120)
        stand.go()
        _alert(alerts, *range(120, 200))
        wait(lambda: "cannot send" in (tmp_path / "filebeat.log").read_text())
    # A container made anew while it is away, on the same volume.
    with _filebeat(tmp_path, stand) as alerts:
        _alert(alerts, *range(200, 210))
        stand.come()
        wait(lambda: len(stand.lines()) >= 210)

    assert stand.lines() == [*range(210)]
    assert PASSWORD not in (tmp_path / "filebeat.log").read_text()


def test_given_a_wrong_password_when_alerts_come_then_they_wait(tmp_path: Path, stand: Stand):
    with _filebeat(tmp_path, stand, password="wrong") as alerts:
        _alert(alerts, 1)
        wait(lambda: "status 401" in (tmp_path / "filebeat.log").read_text())
    assert stand.lines() == []
    with _filebeat(tmp_path, stand):
        wait(lambda: stand.lines() == [1])


def test_given_a_file_that_others_write_when_started_then_it_refuses_it(tmp_path: Path):
    path = tmp_path / "filebeat.yml"
    path.write_text("{}")
    path.chmod(0o666)

    with pytest.raises(filebeat.ConfigurationError):
        filebeat.read(path)


@given(st.text())
def test_given_any_password_when_rendered_and_read_then_it_is_the_same(password: str):
    found = Indexer(("https://a:9200",), "u", password, "")
    text = rendered.configuration(found, "/ca")

    read = json.loads(text, object_hook=filebeat._expanded)

    assert read["output.elasticsearch"]["password"] == password
