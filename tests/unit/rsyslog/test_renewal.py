"""Other certificates and authorities on port 6514: a real rsyslogd on both ends, and OpenSSL."""

import datetime
import shutil
import subprocess

import pytest

from src import certificates
from tests.unit.charm.provider import DAY, authority
from tests.unit.rsyslog.conftest import NOW, until

LINES = 3000
SENDER = """
global(defaultNetstreamDriverCAFile="{folder}/ca.crt"
  defaultNetstreamDriverCertFile="{own}" defaultNetstreamDriverKeyFile="{own}"
  workDirectory="{work}")
module(load="imfile")
input(type="imfile" file="{work}/lines" tag="load:" readMode="0")
action(type="omfwd" target="127.0.0.1" port="{port}" protocol="tcp" streamDriver="gtls"
  streamDriverMode="1" streamDriverAuthMode="x509/name"
  streamDriverPermittedPeers="localhost" tcp_framing="octet-counted"
  action.resumeRetryCount="-1" queue.type="linkedList" queue.size="10000")
"""


@pytest.fixture
def load(receiver, sender, tmp_path):
    """A real rsyslogd that sends every line of a file, as senders have it."""
    work = tmp_path / "sender"
    work.mkdir()
    text = SENDER.format(folder=receiver.directory, own=sender, work=work, port=receiver.port)
    (work / "rsyslog.conf").write_text(text)
    (work / "lines").touch()
    program = shutil.which("rsyslogd", path="/usr/sbin:/usr/bin")
    assert program is not None
    process = subprocess.Popen(
        [program, "-n", "-f", work / "rsyslog.conf", "-i", work / "pid"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield work / "lines"
    process.terminate()
    process.wait(30)


def shown(receiver, sender) -> bytes | None:
    with receiver.connect(sender) as connection:
        return connection.getpeercert(binary_form=True)


def test_given_a_renewed_certificate_when_sending_goes_on_then_no_line_is_lost(
    receiver, sender, load
):
    assert receiver.process is not None
    process = receiver.process.pid
    seen = {shown(receiver, sender)}

    with load.open("a") as lines:
        for number in range(LINES):
            lines.write(f"number {number} of many\n")
            if number % (LINES // 5) == 0:
                lines.flush()
                receiver.configure("renewed")
                seen.add(shown(receiver, sender))
    until(lambda: len(_numbers(receiver)) == LINES, seconds=120)

    assert _numbers(receiver) == set(range(LINES))
    assert len(seen) == 6
    assert receiver.process.pid == process
    assert receiver.process.poll() is None


def _numbers(receiver) -> set[int]:
    return {
        int(line.split("number ")[1].split()[0]) for line in receiver.lines() if "number" in line
    }


def _sender_of(issuer, tmp_path, name, above=(), **options):
    request, key = certificates.request(name, [name])
    path = tmp_path / f"{name}.pem"
    path.write_text(issuer.sign(request, **options) + "".join(one.pem for one in above) + key)
    return path


def _trust(receiver, *pems: str) -> None:
    """Give the receiver the option's bundle, as the charm does: it is restarted."""
    receiver.stop()
    text = certificates.bundle("\n".join(pems), NOW)
    (receiver.directory / "ca.crt").write_text(text)
    receiver.start()


def _openssl(receiver, certificate) -> bool:
    """Send one line by OpenSSL's client; whether it was filed."""
    name = certificate.stem if certificate else "nobody"
    line = f"<13>Oct  1 10:00:00 {name} test: by openssl\n"
    own = (
        ["-cert", certificate, "-key", certificate, "-cert_chain", certificate]
        if certificate
        else []
    )
    subprocess.run(
        ["openssl", "s_client", "-brief", "-connect", f"127.0.0.1:{receiver.port}", *own],
        input=line.encode(),
        capture_output=True,
        timeout=60,
    )
    return any(f" {name} " in text for text in receiver.lines())


def test_given_several_authorities_when_senders_of_each_come_then_they_and_no_other_are_let_in(
    receiver, sender, tmp_path
):
    one, two = authority("one"), authority("two")
    below = authority("below", two)
    third = authority("third")
    _trust(receiver, one.pem, two.pem)
    right = {
        "direct": _sender_of(one, tmp_path, "direct"),
        "chained": _sender_of(below, tmp_path, "chained", [below]),
    }
    wrong = {
        "none": None,
        "strange": _sender_of(third, tmp_path, "strange"),
        "expired": _sender_of(one, tmp_path, "expired", life=DAY, age=2 * DAY),
        "gap": _sender_of(below, tmp_path, "gap"),
        "ours": sender,
    }

    for certificate in wrong.values():
        assert not _openssl(receiver, certificate)
    for name, certificate in right.items():
        _openssl(receiver, certificate)
        until(lambda name=name: any(f" {name} " in line for line in receiver.lines()))

    assert {line.split()[3] for line in receiver.lines()} == {"direct", "chained"}


def test_given_an_intermediate_alone_when_trusted_then_its_senders_are_let_in(receiver, tmp_path):
    below = authority("below", authority("root"))
    _trust(receiver, below.pem)

    _openssl(receiver, _sender_of(below, tmp_path, "direct"))

    until(lambda: receiver.lines())


BAD = {
    "not a PEM certificate": "hello",
    "not a PEM": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
    "holds a private key": certificates.request("x", ["x"])[1],
    "longer than 524288 bytes": "-" * 1_000_000,
    "CN=old expired on": authority("old", life=-DAY).pem,
    "CN=leaf is no certificate authority": authority("r").sign(
        certificates.request("leaf", ["leaf"])[0]
    ),
}


@pytest.mark.parametrize("reason", BAD)
def test_given_a_bundle_that_is_none_when_read_then_it_is_refused_with_the_reason(reason):
    now = datetime.datetime.now(datetime.UTC)

    with pytest.raises(certificates.BadCertificateError, match=reason):
        certificates.bundle(BAD[reason], now)
