"""Fetching from a real Git over real HTTP: what comes, what is kept, what is said."""

import base64
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from repository.places import MEBIBYTE


def test_given_a_repository_when_fetched_then_rules_decoders_and_lists_come(
    charm, origin, url, rules
):
    wanted = {
        "rules/local.xml": rules,
        "decoders/local.xml": b'<decoder name="a">\n</decoder>\n',
        "lists/bad-hosts": b"192.0.2.1:bad\n",
    }
    commit = origin.commit({**wanted, "README.md": b"x", "rules/notes.txt": b"x"})

    result = charm.result(url)

    assert result == {"request": "r1", "commit": commit, "error": None}
    assert charm.tree(commit) == wanted
    assert charm.notices == [
        {
            "path": "/v1/notices",
            "action": "add",
            "type": "custom",
            "key": "wazuh-server.local/repository",
        }
    ]


@pytest.mark.parametrize("kind", ["branch", "slashed branch", "tag", "annotated tag", "commit"])
def test_given_a_ref_when_fetched_then_its_commit_comes(charm, origin, url, rules, kind):
    commit = origin.commit({"rules/local.xml": rules})
    origin.git("branch", "b")
    origin.git("branch", "feature/x")
    origin.git("tag", "light")
    origin.git("tag", "--annotate", "--message=x", "full")
    origin.commit({"rules/later.xml": rules})
    refs = {
        "branch": "b",
        "slashed branch": "feature/x",
        "tag": "light",
        "annotated tag": "full",
        "commit": commit,
    }

    assert charm.result(url, refs[kind])["commit"] == commit


def test_given_a_new_commit_when_fetched_again_then_it_comes_and_two_trees_stay(
    charm, origin, url, rules
):
    commits = []
    for number in range(4):
        commits.append(origin.commit({f"rules/{number}.xml": rules}))
        assert charm.result(url, "main")["commit"] == commits[-1]

    assert charm.trees() == set(commits[-2:])


def test_given_the_same_commit_when_fetched_again_then_nothing_is_fetched(
    charm, origin, url, rules
):
    commit = origin.commit({"rules/local.xml": rules})
    charm.result(url)
    file = charm.places.home / commit / "rules" / "local.xml"
    before = file.stat()
    # Without its objects the server can still name the commit, but give nothing.
    (origin.path / ".git" / "objects").rename(origin.path / "gone")
    (origin.path / ".git" / "objects").mkdir()

    charm.places = replace(charm.places)
    result = charm.result(url)

    assert result["commit"] == commit
    assert file.stat() == before


def test_given_a_subdirectory_when_fetched_then_only_it_is_read(charm, origin, url, rules):
    commit = origin.commit({"wazuh/etc/rules/a.xml": rules, "rules/top.xml": b"<broken>"})

    result = charm.result(url, subdirectory="wazuh/etc")

    assert result["error"] is None
    assert result["commit"].startswith(f"{commit}-")
    assert charm.tree(result["commit"]) == {"rules/a.xml": rules}


def test_given_two_subdirectories_of_a_commit_when_fetched_then_they_are_two_trees(
    charm, origin, url, rules
):
    origin.commit({"a/rules/a.xml": rules, "b/rules/b.xml": rules})

    first, second = (charm.result(url, subdirectory=name)["commit"] for name in "ab")

    assert charm.tree(first) == {"rules/a.xml": rules}
    assert charm.tree(second) == {"rules/b.xml": rules}


def test_given_a_missing_subdirectory_when_fetched_then_it_is_named(charm, origin, url, rules):
    origin.commit({"rules/a.xml": rules})

    assert charm.error(url, subdirectory="etc") == 'no directory "etc" in the repository'


def test_given_an_unknown_ref_when_fetched_then_it_is_named(charm, origin, url, rules):
    origin.commit({"rules/a.xml": rules})

    assert charm.error(url, "no-such").startswith('unknown ref "no-such"')
    assert charm.error(url, "0" * 40) == "the server has no such ref"


def test_given_a_repository_without_commits_when_fetched_then_it_is_called_empty(charm, url):
    assert charm.error(url).startswith("the repository is empty")


def test_given_no_repository_at_the_address_when_fetched_then_it_is_said(charm, url):
    assert charm.error(f"{url}-other") == "there is no repository at this address"


def test_given_a_failure_when_fetched_then_the_last_good_tree_stays(charm, origin, url, rules):
    good = origin.commit({"rules/a.xml": rules})
    charm.result(url)
    origin.commit({"rules/a.xml": b"<group>"})

    result = charm.result(url)

    assert result["commit"] == good
    assert result["error"].startswith("rules/a.xml line")
    assert charm.tree(good) == {"rules/a.xml": rules}
    assert charm.trees() == {good}


def test_given_a_bad_commit_when_mended_then_the_next_run_takes_it(charm, origin, url, rules):
    origin.commit({"rules/a.xml": b"<group>"})
    charm.error(url)

    commit = origin.commit({"rules/a.xml": rules})

    assert charm.result(url) == {"request": "r1", "commit": commit, "error": None}


def test_given_hooks_filters_and_submodules_when_fetched_then_none_of_them_runs(
    charm, origin, url, rules, tmp_path
):
    mark = tmp_path / "ran"
    origin.git("config", "filter.evil.smudge", f"touch {mark}")
    files = {
        "rules/a.xml": rules,
        ".gitattributes": b"*.xml filter=evil\n",
        ".gitmodules": b'[submodule "s"]\n\tpath = s\n\turl = ext::sh -c touch% ran\n',
        "hooks/post-checkout": b"#!/bin/sh\ntouch ran\n",
    }
    commit = origin.commit(files)

    assert charm.result(url)["commit"] == commit
    assert charm.tree(commit) == {"rules/a.xml": rules}
    assert not mark.exists()


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("rules/a.xml", "/etc/shadow"),
        ("rules/a.xml", "../../../../etc/client.keys"),
        ("rules", "/etc"),
        ("lists/a", "../rules"),
    ],
)
def test_given_a_link_when_fetched_then_it_is_refused(charm, origin, url, name, target):
    (origin.path / name).parent.mkdir(exist_ok=True)
    (origin.path / name).symlink_to(target)
    origin.commit({"decoders/a.xml": b'<decoder name="a"></decoder>'})

    error = charm.error(url)

    assert error.startswith(name)
    assert charm.trees() == set()


def test_given_a_link_where_nothing_is_taken_when_fetched_then_it_does_no_harm(
    charm, origin, url, rules
):
    (origin.path / "LICENCE").symlink_to("/etc/shadow")
    commit = origin.commit({"rules/a.xml": rules})

    result = charm.result(url)

    assert result["error"] is None
    assert charm.tree(commit) == {"rules/a.xml": rules}


def test_given_a_submodule_for_rules_when_fetched_then_it_is_refused(charm, origin, url):
    commit = origin.commit()
    origin.git("update-index", "--add", "--cacheinfo", f"160000,{commit},rules/a.xml")
    origin.git("commit", "--quiet", "--message=x")

    assert charm.error(url) == "rules/a.xml is no regular file"


@pytest.mark.parametrize("name", ["client.keys", "authd.pass", "sslmanager.key", "CLIENT.keys"])
def test_given_a_file_that_is_ours_when_fetched_then_it_is_refused_by_name(
    charm, origin, url, rules, name
):
    origin.commit({f"etc/{name}": b"x", "rules/a.xml": rules})

    assert name.lower() in charm.error(url)


def test_given_ten_thousand_files_when_fetched_then_the_limit_is_named(charm, origin, url, rules):
    lines = "".join(f"M 644 inline docs/{number}\ndata 0\n\n" for number in range(10_000))
    script = f"commit refs/heads/main\ncommitter a <a@example.com> 1 +0000\ndata 1\nx\n{lines}"
    origin.git("fast-import", "--quiet", stdin=script.encode())
    charm.limits = replace(charm.limits, entries=9_999)

    assert charm.error(url) == "more than 9999 files"


def test_given_trees_within_trees_without_end_when_fetched_then_the_limit_is_named(
    charm, origin, url
):
    blob = origin.git("hash-object", "-w", "--stdin", stdin=b"x")
    tree = origin.git("mktree", stdin=f"100644 blob {blob}\tf\n".encode())
    for _ in range(10):
        lines = "".join(f"040000 tree {tree}\t{name}\n" for name in "abcdefghij")
        tree = origin.git("mktree", stdin=lines.encode())
    commit = origin.git("commit-tree", "-m", "x", tree)
    origin.git("update-ref", "refs/heads/main", commit)

    assert charm.error(url) == "more than 20000 files"


def test_given_a_large_file_when_fetched_then_the_transfer_ends_at_the_limit(
    charm, origin, url, rules
):
    origin.commit({"rules/a.xml": rules, "movie": os.urandom(3 * MEBIBYTE)})
    charm.limits = replace(charm.limits, pack_bytes=MEBIBYTE)

    assert charm.error(url) == "larger than 1 MiB"
    assert sum(path.stat().st_size for path in charm.places.home.rglob("*")) < MEBIBYTE


@pytest.mark.parametrize(
    ("limit", "sentence"),
    [
        ({"file_bytes": 10}, "rules/a.xml is larger than 0 MiB"),
        ({"total_bytes": 10}, "all files are larger than 0 MiB"),
        ({"files": 0}, "more than 0 files in "),
    ],
)
def test_given_more_than_a_limit_when_fetched_then_it_is_named(
    charm, origin, url, rules, limit, sentence
):
    origin.commit({"rules/a.xml": rules})
    charm.limits = replace(charm.limits, **limit)

    assert str(charm.error(url)).startswith(sentence)


@contextmanager
def answering(answer) -> Iterator[str]:
    """Serve TCP with a function of the connection; give the address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        done = threading.Event()

        def loop() -> None:
            while not done.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                with connection:
                    answer(connection, done)

        thread = threading.Thread(target=loop)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/a"
        finally:
            done.set()
            thread.join()


def hang(_connection: socket.socket, done: threading.Event) -> None:
    done.wait(60)


def reset(connection: socket.socket, _done: threading.Event) -> None:
    connection.recv(4096)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def babble(connection: socket.socket, _done: threading.Event) -> None:
    connection.recv(4096)
    connection.sendall(
        b"HTTP/1.0 200 OK\r\n"
        b"Content-Type: application/x-git-upload-pack-advertisement\r\n\r\nzzzz\0\xff"
    )


def redirect(connection: socket.socket, _done: threading.Event) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.0 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n")


def ask_who(connection: socket.socket, _done: threading.Event) -> None:
    connection.recv(4096)
    connection.sendall(
        b'HTTP/1.0 401 Unauthorized\r\nWWW-Authenticate: Basic realm="x"\r\n'
        b"Content-Length: 0\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (hang, "not fetched within 1 seconds"),
        (reset, "the server breaks off or does not answer as a Git server"),
        (babble, "the server breaks off or does not answer as a Git server"),
        (redirect, "the server leads to a protocol that is not allowed"),
        (ask_who, "the server asks for a user name: only public repositories can be read"),
    ],
)
def test_given_a_bad_server_when_fetched_then_the_run_ends_and_says_so(charm, answer, sentence):
    charm.limits = replace(charm.limits, seconds=1 if answer is hang else 20)

    with answering(answer) as address:
        assert charm.error(address) == sentence


def test_given_a_server_that_stops_sending_when_fetched_then_it_says_so(charm):
    charm.limits = replace(charm.limits, stall_seconds=1)

    with answering(hang) as address:
        assert charm.error(address) == "the host does not answer in time"


def test_given_nobody_listening_when_fetched_then_it_says_so(charm):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    error = charm.error(f"http://127.0.0.1:{port}/a")

    assert error == "the host does not accept connections"


def test_given_an_unknown_host_when_fetched_then_it_says_so(charm):
    assert charm.error("http://host.invalid/a") == "the host is unknown"


class Quiet(SimpleHTTPRequestHandler):
    """Static files."""

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Say nothing."""


def test_given_a_server_of_static_files_when_fetched_then_its_protocol_is_named(
    charm, origin, rules
):
    origin.commit({"rules/a.xml": rules})
    origin.git("update-server-info")
    handler = partial(Quiet, directory=str(origin.path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        error = charm.error(f"http://127.0.0.1:{server.server_address[1]}/.git")
        server.shutdown()
        thread.join()

    assert error.startswith("the server speaks only Git's old (dumb) protocol")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"request": "r", "url": "ext::sh -c id"}',
        '{"request": "r", "url": "--upload-pack=x"}',
        '{"request": "r", "url": "file:///etc"}',
        '{"request": "r", "url": "http://h/a", "ref": "--upload-pack=x"}',
        '{"request": "r", "url": "http://h/a\\n"}',
    ],
)
def test_given_a_request_that_is_not_the_charms_when_run_then_git_is_not_started(
    charm, text, monkeypatch
):
    def never(*_arguments: object, **_options: object) -> None:
        pytest.fail("a process was started")

    monkeypatch.setattr(subprocess, "Popen", never)
    charm.places.request.write_text(text)

    with pytest.raises(ValueError):
        charm.run()


def test_given_no_pebble_when_run_then_the_result_is_written_all_the_same(
    charm, origin, url, rules, tmp_path
):
    commit = origin.commit({"rules/a.xml": rules})
    charm.places = replace(charm.places, socket=tmp_path / "nothing")

    assert charm.result(url)["commit"] == commit


def test_given_a_run_when_terminated_then_git_ends_with_it(charm, origin, tmp_path):
    script = (
        "import sys, signal; sys.path[:0] = sys.argv[1:2]\n"
        "from pathlib import Path\n"
        "from repository.places import Limits, Places\n"
        "from repository.run import run, _stop\n"
        "signal.signal(signal.SIGTERM, _stop)\n"
        "run(Places(*map(Path, sys.argv[2:])), Limits())\n"
    )
    places = charm.places
    arrived = threading.Event()

    def wait(connection: socket.socket, _done: threading.Event) -> None:
        arrived.set()
        connection.settimeout(30)
        while connection.recv(4096):
            pass
        left.set()

    left = threading.Event()
    with answering(wait) as address:
        charm.ask(address)
        command = [sys.executable, "-c", script, "rock"]
        command += [str(places.request), str(places.home), str(places.socket)]
        with subprocess.Popen(command) as process:
            assert arrived.wait(30)
            process.terminate()
            assert process.wait(30) == 143
        assert left.wait(30)
    assert list(places.home.iterdir()) == []


def test_given_a_proxy_when_fetched_then_git_asks_it_and_not_the_host(charm):
    asked: list[str] = []

    class Proxy(SimpleHTTPRequestHandler):
        """Notes what it is asked for, and lets nothing through."""

        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(403)

        def log_request(self, code: object = "-", size: object = "-") -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        port = server.server_address[1]
        charm.proxies = {"http_proxy": f"http://user:hunter22@127.0.0.1:{port}"}
        error = charm.error("http://git.example.org/rules")
        charm.proxies["no_proxy"] = "git.example.org"
        direct = charm.error("http://git.example.org/rules")
        server.shutdown()

    assert len(asked) == 1
    assert asked[0].startswith("http://git.example.org/rules/info/refs")
    assert "hunter22" not in error
    assert direct == "the host is unknown"


def test_given_a_proxy_for_https_when_fetched_then_it_is_asked_for_a_tunnel_and_told_who_asks(
    charm,
):
    asked: list[tuple[str, str | None]] = []

    class Proxy(SimpleHTTPRequestHandler):
        """Notes where a tunnel is wanted to, and lets nothing through."""

        protocol_version = "HTTP/1.1"

        def do_CONNECT(self) -> None:
            asked.append((self.path, self.headers["Proxy-Authorization"]))
            self.send_response(403 if asked[-1][1] else 407)
            self.send_header("Proxy-Authenticate", 'Basic realm="x"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_request(self, code: object = "-", size: object = "-") -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        port = server.server_address[1]
        charm.proxies = {"https_proxy": f"http://user:hunter22@127.0.0.1:{port}"}
        error = charm.error("https://git.example.org:8443/rules")
        server.shutdown()

    known = f"Basic {base64.b64encode(b'user:hunter22').decode()}"
    assert asked[-1] == ("git.example.org:8443", known)
    assert error == "the proxy of the model's options does not let it through"


@pytest.mark.parametrize("proxy", ["http://user:hunter22@h%0ax:1", "http://u%0a:hunter22@h:1"])
def test_given_a_proxy_that_git_cannot_read_when_fetched_then_its_password_is_not_logged(
    charm, caplog, proxy
):
    charm.proxies = {"http_proxy": proxy}

    error = charm.error("http://git.example.org/rules")

    assert "hunter22" not in error
    assert "git: status" in caplog.text
    assert "hunter22" not in caplog.text


def test_given_a_host_whose_certificate_nobody_vouches_for_when_fetched_then_it_is_refused(
    charm, tmp_path
):
    certificate = tmp_path / "host.pem"
    make = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1")
    files = ("-keyout", str(certificate), "-out", str(tmp_path / "crt"), "-days", "1")
    subprocess.run([*make, *files], check=True, capture_output=True)
    with certificate.open("a") as file:
        file.write((tmp_path / "crt").read_text())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def shake(connection: socket.socket, _done: threading.Event) -> None:
        with suppress(OSError):
            context.wrap_socket(connection, server_side=True).recv(4096)

    with answering(shake) as address:
        error = charm.error(address.replace("http://", "https://"))

    assert error == "the host's certificate is not trusted, or its TLS fails"
