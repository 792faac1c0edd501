"""Everything wrong that a configuration repository may be, from the option to the service.

Each line: what is set or committed, and the sentence of the status. Always: what runs is
untouched, and setting the option right, or the repository, is all that has to be done.
"""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.charm.world import Unit, leader
from tests.unit.repository import servers
from tests.unit.repository.whole import KNOWN_HOSTS, REPOSITORY, SSH_KEY, Whole, make

GOOD = {"rules/good.xml": b'<group name="good,">\n  <rule id="100100" level="3"/>\n</group>\n'}
PASSWORD = "hunter22"
_ACCEPTED = "(use git+https, git+ssh or git+http)"
_REF = (
    "the ref after @ is not a branch, tag or commit "
    "(letters, digits and . _ / + -, not beginning with -)"
)
_NO_HOST = "the host is neither a name nor an address"


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Unit:
    return leader(tmp_path_factory.mktemp("deployed"))


@pytest.fixture
def whole(deployed: Unit, tmp_path: Path) -> Iterator[Whole]:
    """A master that serves, with no repository yet."""
    made = make(deployed.copy(tmp_path / "unit"), tmp_path)
    yield made
    made.close()


@pytest.fixture
def served(whole, origin, url) -> tuple[str, str]:
    """A good commit in force, from a real server: the option's text, and the commit."""
    commit = origin.commit(GOOD)
    origin.git("tag", "good")
    whole.set({REPOSITORY: f"git+{url}@main"})
    assert whole.commit == commit[:12]
    return f"git+{url}", commit


# The option ---------------------------------------------------------------------------------

ADDRESSES = [
    ("git+hhtp://h/a", f'unknown scheme "git+hhtp" {_ACCEPTED}'),
    (
        "--upload-pack=x",
        "no scheme (use git+https, git+ssh or git+http, as in git+https://host/path)",
    ),
    (
        "ext::sh -c id",
        "no scheme (use git+https, git+ssh or git+http, as in git+https://host/path)",
    ),
    ("file:///etc", f'unknown scheme "file" {_ACCEPTED}'),
    ("git://h/a", f'unknown scheme "git" {_ACCEPTED}'),
    ("git+https://-oProxyCommand=id/a", _NO_HOST),
    ("git+ssh://-oProxyCommand=id/a", _NO_HOST),
    ("git+https://h\nx/a", "control characters and letters beyond ASCII are not allowed"),
    ("git+https://h%0ax/a", _NO_HOST),
    ("git+https://h:99999/a", "the port is not a number from 1 to 65535"),
    (f"git+https://u:{PASSWORD}@h/a", "a user name or password in the address is not allowed"),
    (f"git+ssh://u:{PASSWORD}@h/a", "a password in the address is not allowed"),
    ("git+https://h/a@--upload-pack=x", _REF),
    ("git+https://h/a@-x", _REF),
    ("git+https://h/a@a..b", _REF),
    ("git+https://h/a@main@{1}", _REF),
    ("git+https://h/a@a b", "spaces and queries (?) are not allowed"),
]


@pytest.mark.parametrize(("address", "reason"), ADDRESSES)
def test_given_a_bad_address_when_set_then_it_is_named_nothing_changes_and_a_good_one_heals(
    whole, served, address, reason
):
    good, commit = served
    before = whole.service()

    whole.set({REPOSITORY: address})

    assert whole.said == f"blocked: {REPOSITORY}: {reason}"
    assert PASSWORD not in whole.said
    assert whole.service() == before
    whole.set({REPOSITORY: f"{good}@main"})
    assert whole.commit == commit[:12]
    assert whole.service() == before


# What only the server knows ------------------------------------------------------------------

ASKED = [
    ("{good}@no-such", 'unknown ref "no-such" (no branch, tag or full commit has this name)'),
    ("{good}@" + "0" * 40, "the server has no such ref"),
    ("{good}-none@main", "there is no repository at this address"),
    ("{good}@main#subdirectory=none", 'no directory "none" in the repository'),
    ("{empty}", "the repository is empty, or has no default branch"),
    ("git+http://host.invalid/a", "the host is unknown"),
    ("git+http://127.0.0.1:{closed}/a", "the host does not accept connections"),
]


@pytest.mark.parametrize(("address", "reason"), ASKED)
def test_given_what_the_server_has_not_when_set_then_it_is_named_and_a_good_address_heals(
    whole, served, origin, web, address, reason
):
    good, commit = served
    empty = Path(web[1]) / f"{origin.path.parent.name}-empty"
    origin.git("init", "--quiet", "--bare", str(empty))
    before = whole.service()

    where = {"good": good, "empty": f"git+{web[0]}/{empty.name}", "closed": servers.free_port()}
    whole.set({REPOSITORY: address.format(**where)})

    assert whole.said == f"blocked: {REPOSITORY}: {reason}"
    assert whole.service() == before
    whole.set({REPOSITORY: f"{good}@main"})
    assert whole.commit == commit[:12]
    assert whole.service() == before


# The repository's content ---------------------------------------------------------------------


def files(**named: bytes) -> Callable:
    """Commit files; `__` stands for `/`, `_xml` for `.xml`, `_conf` for `.conf`."""
    paths = {
        name.replace("__", "/").replace("_xml", ".xml").replace("_conf", ".conf"): data
        for name, data in named.items()
    }
    return lambda origin: origin.commit(paths)


def link(path: str, target: str) -> Callable:
    """Commit a symbolic link."""

    def act(origin) -> None:
        (origin.path / path).parent.mkdir(parents=True, exist_ok=True)
        (origin.path / path).symlink_to(target)
        origin.commit()

    return act


def raw(mode: str, path: bytes) -> Callable:
    """Commit what no work tree can hold: an entry of `rules` with any mode and name."""

    def act(origin) -> None:
        blob = origin.git("hash-object", "-w", "--stdin", stdin=GOOD["rules/good.xml"])
        rules = _tree(origin, mode, path, blob)
        commit = origin.git("commit-tree", "-m", "x", _tree(origin, "40000", b"rules", rules))
        origin.git("update-ref", "refs/heads/main", commit)

    return act


def nested(*parts: bytes) -> Callable:
    """Commit a file below directories of any names."""

    def act(origin) -> None:
        found = origin.git("hash-object", "-w", "--stdin", stdin=GOOD["rules/good.xml"])
        for number, part in enumerate(reversed(parts)):
            found = _tree(origin, "40000" if number else "100644", part, found)
        commit = origin.git("commit-tree", "-m", "x", found)
        origin.git("update-ref", "refs/heads/main", commit)

    return act


def _tree(origin, mode: str, name: bytes, identifier: str) -> str:
    entry = mode.encode() + b" " + name + b"\0" + bytes.fromhex(identifier)
    return origin.git("hash-object", "-t", "tree", "-w", "--stdin", "--literally", stdin=entry)


def submodule(origin) -> None:
    """Commit a submodule where a file is due."""
    commit = origin.git("rev-parse", "HEAD")
    origin.git("update-index", "--add", "--cacheinfo", f"160000,{commit},rules/a.xml")
    origin.git("commit", "--quiet", "--message=x")


def nothing(origin) -> None:
    """Commit nothing that is taken."""
    origin.git("rm", "-r", "--quiet", "rules")
    origin.commit({"README.md": b""})


_LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
_BOMB = b'<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>\n<group name="a">&b;</group>\n'
_CLUSTER = b"<ossec_config>\n  <cluster>\n    <key>x</key>\n  </cluster>\n</ossec_config>\n"
_OURS = "which only this application makes"

CONTENTS = [
    (link("rules/a.xml", "/etc/shadow"), "rules/a.xml is no regular file"),
    (link("groups/web/x", "../../client.keys"), "groups/web/x is no regular file"),
    (link("groups/web/client.keys", "/etc/shadow"), f"holds client.keys, {_OURS}"),
    (link("decoders", "/etc"), "decoders is no directory"),
    (nested(b"rules", b"..", b"a.xml"), "rules holds a file whose name is not plain ('../a.xml')"),
    (
        nested(b"groups", b"..", b"..", b"client.xml"),
        "groups holds a file whose name is not plain ('../../client.xml')",
    ),
    (
        raw("100644", b"/etc/passwd.xml"),
        "rules holds a file whose name is not plain ('/etc/passwd.xml')",
    ),
    (raw("20666", b"a.xml"), "rules/a.xml is no regular file"),
    (raw("60666", b"a.xml"), "rules/a.xml is no regular file"),
    (raw("10666", b"a.xml"), "rules/a.xml is no regular file"),
    (raw("100644", b"a\nb.xml"), "rules holds a file whose name is not plain ('a\\nb.xml')"),
    (raw("100644", b"\xff.xml"), "rules holds a file whose name is not plain ('\\udcff.xml')"),
    (submodule, "rules/a.xml is no regular file"),
    (files(rules__a_xml=_LFS), "rules/a.xml is kept in Git LFS, which is not read"),
    (files(**{"etc__client.keys": b"x"}), f"holds client.keys, {_OURS}"),
    (files(**{"groups__web__authd.pass": b"x"}), f"holds authd.pass, {_OURS}"),
    (files(**{"x__sslmanager.key": b"x"}), f"holds sslmanager.key, {_OURS}"),
    (files(ossec_conf=_CLUSTER), "ossec.conf line 2: <cluster> is the charm's own"),
    (files(ossec_conf=_CLUSTER * 2), "ossec.conf line 2: <cluster> is the charm's own"),
    (
        files(ossec_conf=b"<ossec_config>\n<!-- <cluster> -->\n</ossec_config>\n"),
        "ossec.conf line 2: <cluster> is the charm's own",
    ),
    (
        files(ossec_conf=b"<ossec_config><auth></auth></ossec_config>"),
        "ossec.conf line 1: <auth> is the charm's own",
    ),
    (files(rules__a_xml=b"<group>\n<rule>\n</group>"), "rules/a.xml line 3: mismatched tag"),
    (files(rules__a_xml=b"<group>\n"), "rules/a.xml line 2: mismatched tag"),
    (files(rules__a_xml=_BOMB), "rules/a.xml holds a DOCTYPE or ENTITY"),
    (files(rules__a_xml=b"\xef\xbb\xbf<group/>"), "rules/a.xml begins with a byte order mark"),
    (
        files(rules__a_xml="<group/>".encode("utf-16")),
        "rules/a.xml begins with a byte order mark",
    ),
    (files(rules__a_xml=b"<group>\0</group>"), "rules/a.xml holds a NUL byte"),
    (files(rules__a_xml=b"<group>\xff</group>"), "rules/a.xml is not UTF-8 text"),
    (
        files(rules__a_xml=b"<decoder/>"),
        "rules/a.xml line 1: only <group> and <var> may be outermost, not <decoder>",
    ),
    (
        files(rules__a_xml=b'<group name="a,"><rule id="0" level="3"/></group>'),
        "Wazuh refuses it: wazuh-analysisd: (1220): Error loading the rules: etc/rules/a.xml",
    ),
    (
        files(rules__a_xml=b'<group name="a,">broken</group>'),
        "Wazuh refuses the rules: ERROR: rule 100001 is broken",
    ),
    (
        files(integrations__slack=b"#!/bin/sh\n"),
        "integrations/slack: the name must begin with custom-",
    ),
    (
        nothing,
        "nothing to take: no ossec.conf, and no files in rules, decoders, lists, groups, "
        "integrations, active-response or sca",
    ),
]


@pytest.mark.parametrize(("act", "reason"), CONTENTS, ids=[reason for _, reason in CONTENTS])
def test_given_bad_content_when_it_comes_then_it_is_named_nothing_changes_and_a_ref_heals(
    whole, served, origin, act, reason
):
    good, commit = served
    before = whole.service()

    act(origin)
    whole.turn("update_status")

    assert whole.said == f"blocked: {REPOSITORY}: {reason}"
    assert whole.service() == before
    whole.set({REPOSITORY: f"{good}@good"})
    assert whole.commit == commit[:12]
    assert whole.service() == before


HARMLESS = [
    raw("104755", b"good.xml"),
    files(**{".gitattributes": b"*.xml filter=evil\n"}),
    files(**{".gitmodules": b'[submodule "s"]\n\tpath = s\n\turl = ext::sh -c id\n'}),
    files(**{"hooks__post-checkout": b"#!/bin/sh\ntouch /ran\n"}),
    link("LICENCE", "/etc/shadow"),
]


@pytest.mark.parametrize("act", HARMLESS)
def test_given_what_concerns_nobody_when_it_comes_then_it_is_in_force_and_does_nothing(
    whole, served, origin, act
):
    act(origin)
    whole.turn("update_status")

    assert whole.commit == origin.git("rev-parse", "HEAD")[:12]
    placed = whole.places.home / "etc/rules/good.xml"
    assert placed.read_bytes() == GOOD["rules/good.xml"]
    assert placed.stat().st_mode & 0o7777 == 0o660


# ssh ------------------------------------------------------------------------------------------


def test_given_ssh_when_keys_are_missing_wrong_or_changed_then_each_option_is_named_and_heals(
    whole, served, origin, tmp_path
):
    _, commit = served
    before = whole.service()
    with servers.shell(tmp_path / "sshd") as first:
        address = {REPOSITORY: f"git+{first.url(origin.path)}@main"}
        port = first.port
        elsewhere = first.known_hosts.replace(f"[127.0.0.1]:{port}", "git.example.org")
        no_host = "git+ssh needs the host's public key, as ssh-keyscan shows it (compare it first)"
        no_key = "git+ssh needs a user secret whose key `private-key` holds the private key"
        steps = [
            (address, None, f"{KNOWN_HOSTS}: {no_host}"),
            ({KNOWN_HOSTS: "nonsense"}, None, f"{KNOWN_HOSTS}: line 1 is not `host type key`"),
            ({KNOWN_HOSTS: elsewhere}, None, f"{SSH_KEY}: {no_key}"),
            ({}, {"key": first.key}, f'{SSH_KEY}: the secret has no key "private-key"'),
            ({}, {"private-key": "\r\n".join(first.key.split("\n"))}, f"{SSH_KEY}: the private"),
            ({}, {"private-key": first.key}, f"{KNOWN_HOSTS}: no key of the host is in it"),
        ]
        for options, secret, sentence in steps:
            whole.set(options, secret)
            assert whole.said.startswith(f"blocked: {sentence}")
            assert whole.service() == before
        whole.set({KNOWN_HOSTS: first.known_hosts})
        assert whole.commit == commit[:12]
    with servers.shell(tmp_path / "other", port) as second:
        whole.turn("update_status")
        reason = "the host's key is another one than the known one"
        assert whole.said == f"blocked: {KNOWN_HOSTS}: {reason}"
        assert whole.service() == before
        whole.set({KNOWN_HOSTS: second.known_hosts}, {"private-key": second.key})
        assert whole.commit == commit[:12]
    assert whole.service() == before


# Hosts that fail ------------------------------------------------------------------------------


@contextmanager
def answering(port: int, answer: Callable[[socket.socket], None]) -> Iterator[None]:
    """Listen on a port, and do to each that comes what the line says."""
    done, held = threading.Event(), []

    def loop(server: socket.socket) -> None:
        while not done.is_set():
            try:
                stream, _ = server.accept()
            except TimeoutError:
                continue
            held.append(stream)
            threading.Thread(target=_calm, args=(answer, stream, done), daemon=True).start()

    with socket.create_server(("127.0.0.1", port)) as server:
        server.settimeout(0.05)
        thread = threading.Thread(target=loop, args=(server,))
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            for stream in held:
                stream.close()


def _calm(answer: Callable, stream: socket.socket, done: threading.Event) -> None:
    try:
        answer(stream, done)
    except OSError:
        return


def hanging(_stream: socket.socket, done: threading.Event) -> None:
    done.wait(30)


def slow(stream: socket.socket, done: threading.Event) -> None:
    stream.recv(4096)
    stream.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
    while not done.wait(0.1):
        stream.sendall(b"0" * 10)


def resetting(stream: socket.socket, _done: threading.Event) -> None:
    stream.recv(4096)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.close()


def failing(stream: socket.socket, _done: threading.Event) -> None:
    stream.recv(4096)
    stream.sendall(b"HTTP/1.0 503 Unavailable\r\nContent-Length: 0\r\n\r\n")
    stream.close()


HOSTS = [
    ("down", None, "the host does not accept connections"),
    ("slow", slow, "not fetched within 2 seconds"),
    ("hanging", hanging, "the host does not answer in time"),
    ("resetting", resetting, "the server breaks off or does not answer as a Git server"),
    ("failing", failing, "the server breaks off or does not answer as a Git server"),
]


@pytest.mark.parametrize(("name", "answer", "reason"), HOSTS, ids=[name for name, *_ in HOSTS])
def test_given_a_host_that_fails_when_looked_at_then_hooks_cost_the_same_and_update_status_heals(
    whole, origin, tmp_path, name, answer, reason
):
    commit = origin.commit(GOOD)
    port, root = servers.free_port(), tmp_path / "root"
    root.mkdir()
    (root / "rules").symlink_to(origin.path / ".git")
    with servers.web(root, tmp_path / "lighttpd", port) as address:
        whole.set({REPOSITORY: f"git+{address}/rules@main"})
        whole.turn("update_status")
    healthy, before = whole.cost, whole.service()
    assert whole.commit == commit[:12]
    newer = origin.commit({"rules/newer.xml": GOOD["rules/good.xml"]})

    whole.limits = replace(whole.limits, seconds=2 if name == "slow" else 20, stall_seconds=1)
    with answering(port, answer) if answer else nullcontext():
        whole.turn("update_status")

    assert whole.said == f"blocked: {REPOSITORY}: {reason}"
    assert whole.service() == before
    # The hook only has a service started, whatever becomes of it: no clock is needed to tell.
    assert whole.cost == healthy
    assert whole.cost <= (12, 6)
    whole.limits = replace(whole.limits, seconds=30, stall_seconds=15)
    with servers.web(root, tmp_path / "lighttpd", port):
        whole.turn("update_status")
    assert whole.commit == newer[:12]
