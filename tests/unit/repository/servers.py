"""Real Git servers on loopback: `git http-backend` behind lighttpd, and OpenSSH's sshd.

Each is started by a test as an ordinary program and ended by its own id.
"""

import os
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_UNPACKED = Path(__file__).resolve().parents[3] / ".tools/servers"
_LIBRARIES = [str(path) for path in _UNPACKED.glob("**/*-linux-gnu") if path.is_dir()]
_LIGHTTPD = """
server.document-root = "{root}"
server.bind = "127.0.0.1"
server.port = {port}
server.modules = ("mod_setenv", "mod_alias", "mod_auth", "mod_cgi")
server.errorlog = "{folder}/error.log"
server.stream-response-body = 2
server.upload-dirs = ("{folder}")
cgi.assign = ("" => "")
alias.url = ("/git" => "{backend}")
setenv.set-environment = (
  "GIT_PROJECT_ROOT" => "{root}",
  "GIT_HTTP_EXPORT_ALL" => "1",
  "GIT_CONFIG_NOSYSTEM" => "1",
  "GIT_CONFIG_COUNT" => "1",
  "GIT_CONFIG_KEY_0" => "safe.directory",
  "GIT_CONFIG_VALUE_0" => "*",
)
"""
_SSHD = """
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/authorized
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
LogLevel ERROR
"""


def find(program: str) -> str:
    """Return a server's path: the system's, or what `scripts/bring` has unpacked."""
    unpacked = _UNPACKED / "usr/sbin" / program
    path = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")
    if path is None and not unpacked.exists():
        raise FileNotFoundError(f"no {program}: run scripts/bring")
    return path or str(unpacked)


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextmanager
def web(root: Path, folder: Path, port: int | None = None) -> Iterator[str]:
    """Serve every repository below `root` read only; the value is the address before the name."""
    folder.mkdir(exist_ok=True)
    port = free_port() if port is None else port
    directory = subprocess.check_output(["git", "--exec-path"], text=True).strip()
    text = _LIGHTTPD.format(
        root=root, port=port, folder=folder, backend=f"{directory}/git-http-backend"
    )
    modules = Path(find("lighttpd")).parents[1] / "lib/lighttpd"
    (folder / "conf").write_text(text)
    command = [find("lighttpd"), "-D", "-f", str(folder / "conf"), "-m", str(modules)]
    with _running(command, port):
        yield f"http://127.0.0.1:{port}/git"


@dataclass(frozen=True, slots=True)
class Shell:
    """One sshd: its port, the key it lets in, and its own line of known_hosts."""

    port: int
    key: str
    known_hosts: str
    user: str

    def url(self, repository: Path) -> str:
        """Return a repository's address as Git takes it."""
        return f"ssh://{self.user}@127.0.0.1:{self.port}{repository}"


@contextmanager
def shell(folder: Path, port: int | None = None) -> Iterator[Shell]:
    """Run sshd for this very user; as root in a mount namespace, for it wants users and a folder.

    Every call makes new keys, so that a second one on the same port is another host.
    """
    folder.mkdir(exist_ok=True)
    port = free_port() if port is None else port
    for name in ("host", "key"):
        make_key(folder / name)
    shutil.copy(folder / "key.pub", folder / "authorized")
    (folder / "conf").write_text(_SSHD.format(port=port, folder=folder))
    command = [find("sshd"), "-D", "-e", "-f", str(folder / "conf")]
    line = (folder / "host.pub").read_text().split()
    user = "root" if os.geteuid() == 0 else os.environ.get("USER", "")
    with _running(_as_root(command, folder) if os.geteuid() == 0 else command, port):
        known = f"[127.0.0.1]:{port} {line[0]} {line[1]}\n"
        yield Shell(port, (folder / "key").read_text(), known, user)


def make_key(path: Path, *options: str) -> None:
    """Make a key pair with ssh-keygen; options may say another type, form or passphrase."""
    for old in (path, path.with_name(f"{path.name}.pub")):
        old.unlink(missing_ok=True)
    options = options or ("-t", "ed25519")
    passphrase = () if "-N" in options else ("-N", "")
    command = ["ssh-keygen", "-q", *options, *passphrase, "-C", "", "-f", str(path)]
    subprocess.run(command, check=True)


def _as_root(command: Sequence[str], folder: Path) -> list[str]:
    passwd = folder / "passwd"
    passwd.write_text(
        "root:x:0:0::/root:/bin/sh\nsshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n"
    )
    steps = (
        "mount -t tmpfs tmpfs /run",
        "mkdir -m 755 /run/sshd",
        f"mount --bind {shlex.quote(str(passwd))} /etc/passwd",
        f"exec {shlex.join(command)}",
    )
    return ["unshare", "--mount", "sh", "-c", " && ".join(steps)]


@contextmanager
def _running(command: Sequence[str], port: int) -> Iterator[None]:
    environment: Mapping[str, str] = {
        **os.environ,
        "LD_LIBRARY_PATH": ":".join(_LIBRARIES),
        "GIT_CONFIG_GLOBAL": "/dev/null",
    }
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)
    try:
        _wait(process, port)
        yield
    finally:
        process.terminate()
        process.wait(timeout=10)


def _wait(process: subprocess.Popen[bytes], port: int, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"a Git server does not listen on port {port}")
