"""Fetching over ssh from a real sshd: its key is known beforehand, or nothing is fetched."""

import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from src.deploy_key import parse_key
from tests.unit.repository import servers

_HOSTS, _KEY = "custom-config-known-hosts", "custom-config-ssh-key"


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[servers.Shell]:
    with servers.shell(tmp_path / "sshd") as server:
        yield server


def _give(charm, key: str, known_hosts: str) -> None:
    """Put the two files where the charm puts them."""
    charm.places.key.unlink(missing_ok=True)
    charm.places.key.write_text(key)
    charm.places.key.chmod(0o400)
    charm.places.known_hosts.write_text(known_hosts)


def _refusal(charm, url: str) -> tuple[str, str]:
    """Return the option and the reason as the charm shows them."""
    result = charm.result(url)
    return result["option"], result["error"]


def test_given_a_known_host_and_its_key_when_fetched_then_the_commit_comes_by_its_port(
    charm, origin, shell, rules
):
    commit = origin.commit({"rules/local.xml": rules})
    _give(charm, shell.key, shell.known_hosts)

    result = charm.result(shell.url(origin.path), "main")

    assert result["error"] is None
    assert result["commit"] == commit
    assert charm.tree(commit) == {"rules/local.xml": rules}


def test_given_a_host_that_is_not_known_when_fetched_then_it_is_not_trusted_on_first_use(
    charm, origin, shell, rules
):
    origin.commit({"rules/local.xml": rules})
    other = shell.known_hosts.replace(f"[127.0.0.1]:{shell.port}", "git.example.org")
    _give(charm, shell.key, other)

    assert _refusal(charm, shell.url(origin.path)) == (_HOSTS, "no key of the host is in it")
    assert charm.places.known_hosts.read_text() == other


def test_given_a_host_whose_key_changed_when_fetched_then_the_last_good_stays_until_it_is_known(
    charm, origin, tmp_path, rules
):
    good = origin.commit({"rules/local.xml": rules})
    with servers.shell(tmp_path / "sshd") as first:
        _give(charm, first.key, first.known_hosts)
        charm.result(first.url(origin.path))
    newer = origin.commit({"rules/more.xml": rules})

    with servers.shell(tmp_path / "other", first.port) as second:
        _give(charm, second.key, first.known_hosts)
        result = charm.result(second.url(origin.path))
        _give(charm, second.key, second.known_hosts)
        healed = charm.result(second.url(origin.path))

    assert result["option"] == _HOSTS
    assert result["error"] == "the host's key is another one than the known one"
    assert result["commit"] == good
    assert healed["commit"] == newer


def test_given_a_key_that_the_server_does_not_know_when_fetched_then_it_is_said(
    charm, origin, shell, rules, tmp_path
):
    origin.commit({"rules/local.xml": rules})
    servers.make_key(tmp_path / "stranger")
    _give(charm, (tmp_path / "stranger").read_text(), shell.known_hosts)

    found = _refusal(charm, shell.url(origin.path))

    assert found == (_KEY, "the server does not take this key")


@pytest.mark.parametrize("damage", ["cut", "empty form"])
def test_given_a_key_that_ssh_cannot_read_when_fetched_then_the_option_is_named(
    charm, origin, shell, rules, damage
):
    origin.commit({"rules/local.xml": rules})
    lines = shell.key.splitlines()
    kept = [lines[0], lines[1], lines[-1]] if damage == "cut" else [lines[0], lines[-1]]
    _give(charm, "\n".join(kept) + "\n", shell.known_hosts)

    option, reason = _refusal(charm, shell.url(origin.path))

    assert option == _KEY
    assert reason == "the private key cannot be read"


def test_given_no_such_repository_when_fetched_over_ssh_then_it_is_said(charm, shell, tmp_path):
    _give(charm, shell.key, shell.known_hosts)

    error = charm.error(shell.url(tmp_path / "none"))

    assert error == "there is no repository at this address"


@pytest.mark.parametrize("behaviour", ["down", "hangs", "resets", "talks HTTP"])
def test_given_a_server_that_is_no_sshd_when_fetched_then_the_run_ends_with_a_reason(
    charm, shell, behaviour
):
    _give(charm, shell.key, shell.known_hosts)
    charm.limits = type(charm.limits)(seconds=3, stall_seconds=2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if behaviour == "down":
            server.close()
        thread = threading.Thread(target=_answer, args=(server, behaviour), daemon=True)
        thread.start()
        error = charm.error(f"ssh://git@127.0.0.1:{port}/x")
        if behaviour != "down":
            # A thread left in `accept` may take connections of who gets the number next.
            server.shutdown(socket.SHUT_RDWR)
        thread.join(10)

    said = {
        "down": "the host does not accept connections",
        "resets": "the server breaks off or does not answer as a Git server",
    }
    assert error == said.get(behaviour, error)
    assert "exit status" not in error


def _answer(server: socket.socket, behaviour: str) -> None:
    held = []
    while True:
        try:
            stream, _ = server.accept()
        except OSError:
            return
        held.append(stream)
        if behaviour == "resets":
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            stream.close()
        elif behaviour == "talks HTTP":
            stream.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            stream.close()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("-t", "ed25519"), None),
        (("-t", "rsa", "-b", "2048"), None),
        (("-t", "rsa", "-b", "2048", "-m", "PEM"), None),
        (("-t", "ecdsa"), None),
        (("-t", "ed25519", "-N", "passphrase"), "encrypted"),
        (("-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "passphrase"), "encrypted"),
        (("-t", "rsa", "-b", "2048", "-m", "PKCS8", "-N", "passphrase"), "encrypted"),
    ],
)
def test_given_a_key_of_ssh_keygen_when_checked_then_only_encrypted_ones_are_refused(
    tmp_path, options, problem
):
    servers.make_key(tmp_path / "key", *options)

    found = parse_key({"private-key": (tmp_path / "key").read_text()})

    if problem is None:
        assert (found.problem, bool(found.value)) == (None, True)
    else:
        assert problem in (found.problem or "")


def test_given_a_key_as_people_get_it_wrong_when_checked_then_the_reason_says_what(tmp_path):
    servers.make_key(tmp_path / "key")
    text, public = (tmp_path / "key").read_text(), (tmp_path / "key.pub").read_text()

    def problem(content: str) -> str:
        return parse_key({"private-key": content}).problem or ""

    assert "CRLF" in problem(text.replace("\n", "\r\n"))
    assert "empty" in problem(" \n")
    assert "public key" in problem(public)
    assert "longer" in problem(text + "x" * 40_000)
    assert "not a private key" in problem("hunter2")
    assert "cannot be read" in problem(text.replace("b3Bl", "####", 1))
    assert parse_key({"key": text}).problem == 'the secret has no key "private-key"'
    assert parse_key({"private-key": text.strip()}).value == text
    assert text not in repr(parse_key({"private-key": text}))
