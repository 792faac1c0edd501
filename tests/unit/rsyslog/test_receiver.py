"""Port 6514: who is let in, and where what they say is filed. With a real rsyslogd."""

import datetime
import signal
import socket
import ssl
import stat
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from supervisor.senders import Bounds, Plan, apply, tend

LINE = b"<34>Oct 11 22:14:15 web-1 su[12]: hello"


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Poll for something that comes about by itself; the bound is far beyond its time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.02)


def test_given_a_right_certificate_when_sending_then_the_line_is_filed_by_sender_and_day(
    receiver, sender
):
    before = datetime.datetime.now(datetime.UTC).date()
    receiver.send(sender, LINE)

    until(lambda: receiver.lines("web-1"))

    assert receiver.lines("web-1") == ["Oct 11 22:14:15 web-1 su[12]: hello"]
    assert receiver.lines("_all") == receiver.lines("web-1")
    (path,) = (receiver.logs / "web-1").iterdir()
    today = datetime.datetime.now(datetime.UTC).date()
    assert path.name in {f"{before}.log", f"{today}.log"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750


def test_given_the_newer_syslog_format_when_sending_then_wazuh_finds_the_program(receiver, sender):
    receiver.send(sender, b"<34>1 2026-10-11T22:14:15.003Z Web-1 sshd 12 ID - hello")

    until(lambda: receiver.lines("web-1"))

    assert receiver.lines("web-1") == ["Oct 11 22:14:15 web-1 sshd[12]: hello"]


def test_given_lines_ended_by_newlines_when_sending_then_each_is_filed(receiver, sender):
    with receiver.connect(sender) as connection:
        connection.sendall(LINE + b" 1\n" + LINE + b" 2\n")

    until(lambda: len(receiver.lines("web-1")) == 2)

    assert [line[-1] for line in receiver.lines("web-1")] == ["1", "2"]


def refused(receiver, certificate: Path | None) -> bool:
    """Tell whether a sender is cut off; with TLS 1.3 it learns of it after its handshake."""
    try:
        with receiver.connect(certificate) as connection:
            connection.sendall(b"%d %s" % (len(LINE), LINE))
            return connection.recv(1) == b""
    except (ssl.SSLError, ConnectionError):
        return True


@pytest.mark.parametrize("kind", ["none", "of another authority", "expired"])
def test_given_a_wrong_certificate_when_sending_then_it_is_refused_and_nothing_is_filed(
    receiver, sender, authority, stranger, kind
):
    certificates = {
        "none": None,
        "of another authority": stranger.issue("web-1"),
        "expired": authority.issue("old", expired=True),
    }

    assert refused(receiver, certificates[kind])

    receiver.settle(sender)
    assert receiver.files() == {"_all", "marker"}


def test_given_plain_text_when_sending_then_nothing_is_filed(receiver, sender):
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=30) as connection:
        connection.sendall(LINE + b"\n")
        with suppress(ConnectionError):
            assert b"hello" not in connection.recv(1024)

    receiver.settle(sender)
    assert receiver.files() == {"_all", "marker"}


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_given_tls_of_yesterday_when_connecting_then_the_server_refuses_it(receiver, sender):
    context = ssl.create_default_context(cadata=receiver.authority.pair.certificate)
    context.load_cert_chain(sender)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1

    with (
        socket.create_connection(("127.0.0.1", receiver.port), timeout=30) as connection,
        pytest.raises((ssl.SSLError, ConnectionError)) as caught,
    ):
        context.wrap_socket(connection, server_hostname="localhost")

    # Not for want of an old protocol on this side.
    assert getattr(caught.value, "reason", None) != "NO_PROTOCOLS_AVAILABLE"


HOSTILE = (
    b"../../etc/x",
    b"..",
    b".",
    b"/etc/x",
    b"a/../../b",
    b"_all",
    b"_unnamed",
    b"-x",
    b"a" * 129,
    b"a%2fb",
    b"$(id)",
    b"\xff\xfe",
    "sö".encode(),
)


def test_given_names_that_are_no_host_names_when_sending_then_they_make_no_path(receiver, sender):
    receiver.send(
        sender,
        *(b"<34>1 2026-10-11T22:14:15.003Z %s su - - - hello" % name for name in HOSTILE),
        LINE,
    )

    until(lambda: receiver.lines("web-1"))

    assert receiver.files() == {"_all", "_unnamed", "web-1"}
    expected = ["Oct 11 22:14:15 127.0.0.1 su: hello"] * len(HOSTILE)
    assert receiver.lines("_unnamed") == expected
    assert [path.name for path in receiver.logs.parent.iterdir()] == ["senders"]


def test_given_control_characters_when_sending_then_a_message_stays_one_line(receiver, sender):
    receiver.send(sender, LINE + b"\nOct 11 22:14:15 forged su: x\r\x1b[31m\0\xff end")

    until(lambda: receiver.lines("web-1"))

    (line,) = receiver.lines("web-1")
    assert line.startswith("Oct 11 22:14:15 web-1 su[12]: hello")
    assert line.endswith("end")
    assert line.isprintable()


def test_given_a_message_that_is_too_long_when_sending_then_its_beginning_is_filed(
    receiver, sender
):
    receiver.send(sender, LINE + b"x" * 100_000, LINE + b" after")

    until(lambda: len(receiver.lines("web-1")) == 2)

    long, after = receiver.lines("web-1")
    assert long.startswith("Oct 11 22:14:15 web-1 su[12]: helloxxx")
    assert len(long) < 33_000
    assert after == "Oct 11 22:14:15 web-1 su[12]: hello after"


def test_given_many_senders_when_sending_at_once_then_every_line_is_filed_once(
    receiver, authority
):
    pair = authority.issue("shared")
    with ExitStack() as stack:
        connections = [stack.enter_context(receiver.connect(pair)) for _ in range(20)]
        for number in range(1, 11):
            for sender, connection in enumerate(connections):
                text = b"<13>Oct 11 22:14:15 host-%d app: %d" % (sender, number)
                connection.sendall(b"%d %s" % (len(text), text))

    names = {f"host-{sender}" for sender in range(20)}
    until(lambda: all(len(receiver.lines(name)) >= 10 for name in names))

    assert receiver.files() == {"_all", *names}
    assert len(receiver.lines("_all")) == 200
    for sender in range(20):
        ends = [line.rpartition(" ")[2] for line in receiver.lines(f"host-{sender}")]
        assert ends == [str(number) for number in range(1, 11)]


def test_given_strangers_that_say_nothing_when_a_sender_comes_then_it_is_served(receiver, sender):
    with ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(socket.create_connection(("127.0.0.1", receiver.port)))

        receiver.send(sender, LINE)

        until(lambda: receiver.lines("web-1"))


def test_given_a_running_receiver_when_listed_then_it_listens_on_its_port_alone(receiver):
    assert receiver.process is not None
    pid = receiver.process.pid
    until(receiver.pid_file.exists)
    assert receiver.pid_file.read_text().strip() == str(pid)
    own = {str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()}
    ports = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for row in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = row.split()
            if f"socket:[{fields[9]}]" in own:
                ports.add((table[:3], int(fields[1].rpartition(":")[2], 16)))
    assert ports == {("tcp", receiver.port)}


def test_given_a_removed_file_of_today_when_reopened_then_new_lines_go_to_a_new_file(
    receiver, sender
):
    receiver.send(sender, LINE + b" 1")
    until(lambda: receiver.lines("web-1"))
    (path,) = (receiver.logs / "web-1").iterdir()

    apply(
        receiver.logs,
        Plan(remove=(f"web-1/{path.name}",), reopen=True),
        receiver.pid_file,
    )
    # Each message may come before the signal is acted on; one of them comes after it.
    until(lambda: receiver.send(sender, LINE + b" 2") or receiver.lines("web-1"))

    assert set(receiver.lines("web-1")) == {"Oct 11 22:14:15 web-1 su[12]: hello 2"}


def test_given_files_made_ahead_when_lines_come_then_they_are_written_into_them(receiver, sender):
    now = datetime.datetime.now(datetime.UTC)
    tend(receiver.logs, receiver.pid_file, Bounds(), now.timestamp())
    made = {path.name: path.stat().st_ino for path in (receiver.logs / "_all").iterdir()}

    receiver.send(sender, LINE)

    until(lambda: receiver.lines())
    after = {path.name: path.stat().st_ino for path in (receiver.logs / "_all").iterdir()}
    assert after == made


def test_given_a_receiver_when_terminated_then_it_ends_well_and_keeps_what_came(receiver, sender):
    receiver.send(sender, *[LINE] * 500)
    receiver.settle(sender)

    assert receiver.process is not None
    receiver.process.send_signal(signal.SIGTERM)

    assert receiver.process.wait(30) == 0
    assert len(receiver.lines("web-1")) == 500
