"""Runs Git so that a repository and its server can harm nothing but this one run."""

import logging
import os
import re
import resource
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from repository.places import KNOWN_HOSTS, MEBIBYTE, SSH_KEY, Limits, RefusedError

_log = logging.getLogger(__name__)

_SETTINGS = (
    "core.hooksPath=/dev/null",
    # Blobs beyond this are streamed instead of held in memory.
    "core.bigFileThreshold=1m",
    "credential.helper=",
    "fetch.recurseSubmodules=no",
    "fetch.unpackLimit=1",
    "gc.auto=0",
    "http.lowSpeedLimit=1",
    "maintenance.auto=false",
    "pack.threads=1",
    "submodule.recurse=false",
)

# What ssh may use: nothing of the machine's or a person's, and no key but the known ones.
_SSH = (
    "ssh",
    *("-F", "/dev/null", "-T"),
    "-oBatchMode=yes",
    "-oStrictHostKeyChecking=yes",
    "-oGlobalKnownHostsFile=/dev/null",
    "-oUpdateHostKeys=no",
    "-oIdentitiesOnly=yes",
    "-oIdentityAgent=none",
    "-oPreferredAuthentications=publickey",
    "-oClearAllForwardings=yes",
    "-oControlMaster=no",
    "-oProxyCommand=none",
    "-oLogLevel=ERROR",
    "-oServerAliveInterval=5",
    "-oServerAliveCountMax=3",
)

# ssh's own words come first: Git adds to them that it cannot read from the remote.
_SSH_SENTENCES = (
    (
        r"remote host identification has changed|host key for \S+ has changed",
        "the host's key is another one than the known one",
        KNOWN_HOSTS,
    ),
    (
        r"host key is known for|host key verification failed",
        "no key of the host is in it",
        KNOWN_HOSTS,
    ),
    (r"marked as revoked", "the host's key is revoked there", KNOWN_HOSTS),
    (
        r"load key .*(error in libcrypto|invalid format|incorrect passphrase|bad permissions)",
        "the private key cannot be read",
        SSH_KEY,
    ),
    (r"permission denied \(", "the server does not take this key", SSH_KEY),
)

# Git's and curl's own words, in English because LC_ALL is C, and what people are told.
_SENTENCES = (
    (r"proxy|connect tunnel", "the proxy of the model's options does not let it through"),
    (r"could not resolve host", "the host is unknown"),
    (r"operation too slow|timed? ?out", "the host does not answer in time"),
    (
        r"failed to connect|couldn't connect|connection refused|unreachable|no route",
        "the host does not accept connections",
    ),
    (
        r"dumb http transport does not support shallow",
        "the server speaks only Git's old (dumb) protocol, which cannot give one commit alone",
    ),
    (r"couldn't find remote ref|not our ref|unadvertised object", "the server has no such ref"),
    (
        r"could not read username|authentication failed|error: 40[13]\b",
        "the server asks for a user name: only public repositories can be read",
    ),
    (
        r"transport '\w+' not allowed|protocol \W?\w+\W? (not supported|disabled)|"
        r"unsupported protocol",
        "the server leads to a protocol that is not allowed",
    ),
    (r"certificate|ssl|tls", "the host's certificate is not trusted, or its TLS fails"),
    (
        r"reset by |empty reply|early eof|hung up|unexpected disconnect|recv failure|"
        r"invalid index-pack output|bad line length|rpc failed|transfer closed|"
        r"not valid: is this a git repository|error: 5\d\d|"
        r"connection closed by|kex_exchange|banner exchange|broken pipe",
        "the server breaks off or does not answer as a Git server",
    ),
    (
        r"not found|error: 404|does not appear to be a git repository",
        "there is no repository at this address",
    ),
    (
        r"could not read from remote repository",
        "the server breaks off or does not answer as a Git server",
    ),
)
_ADDRESS = re.compile(r"(https?|ssh)://\S+")
_CREDENTIALS = re.compile(r"://\S*@")
_TOO_LARGE = re.compile(r"file too large", re.IGNORECASE)


class TooLargeError(RefusedError):
    """Git wanted to write more than it may."""


@dataclass(frozen=True, slots=True)
class Ways:
    """How servers are reached: the proxies, and the files that ssh needs."""

    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    key: Path | None = None
    known_hosts: Path | None = None

    def environment(self, seconds: int) -> dict[str, str]:
        """Put it into Git's environment: what is an argument, everybody on the machine sees."""
        files = (f"-oIdentityFile={self.key}", f"-oUserKnownHostsFile={self.known_hosts}")
        words = (*_SSH, f"-oConnectTimeout={seconds}", *files)
        return {
            **self.proxies,
            "GIT_SSH_COMMAND": shlex.join(words),
            "GIT_SSH_VARIANT": "ssh",
        }


@dataclass(frozen=True, slots=True)
class Git:
    """Git in one bare repository, until `deadline` on the monotonic clock."""

    directory: Path
    deadline: float
    limits: Limits
    ways: Ways = field(default_factory=Ways)

    def run(
        self, *arguments: str, protocols: str = "", stdin: bytes = b"", most: int | None = None
    ) -> bytes:
        """Return what Git writes, or raise `RefusedError`.

        `protocols` names those it may speak, none by default; `most` bounds, in bytes, each
        file it writes and its answer, which goes through a file for that reason: a few
        kilobytes can unfold into an endless listing.
        """
        most = self.limits.pack_bytes if most is None else most
        with (
            TemporaryFile(dir=self.directory) as question,
            TemporaryFile(dir=self.directory) as answer,
            TemporaryFile(dir=self.directory) as errors,
        ):
            question.write(stdin)
            question.seek(0)
            status = self._wait(
                subprocess.Popen(
                    ["git", *_options(self.limits), *arguments],
                    cwd=self.directory,
                    env=self._environment(protocols),
                    stdin=question,
                    stdout=answer,
                    stderr=errors,
                    preexec_fn=partial(_limit, most, self.limits.memory_bytes, bool(protocols)),
                    start_new_session=True,
                )
            )
            if status != 0:
                raise _refusal(status, _text(errors), most)
            answer.seek(0)
            return answer.read()

    def _environment(self, protocols: str) -> dict[str, str]:
        """Nothing of the machine's or a person's own configuration, and nobody to ask."""
        ways = self.ways.environment(self.limits.stall_seconds) if protocols else {}
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.directory),
            "LC_ALL": "C",
            "GIT_ALLOW_PROTOCOL": protocols,
            "GIT_ASKPASS": "/bin/false",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_PROTOCOL_FROM_USER": "0",
            "GIT_TERMINAL_PROMPT": "0",
            **ways,
        }

    def _wait(self, process: subprocess.Popen) -> int:
        try:
            return process.wait(max(self.deadline - time.monotonic(), 0.01))
        except subprocess.TimeoutExpired:
            raise RefusedError(f"not fetched within {self.limits.seconds:g} seconds") from None
        finally:
            _end_group(process.pid)
            process.wait()


def _limit(written: int, memory: int, helpers: bool) -> None:
    """Bound, between fork and exec, what a process writes into one file, and its memory.

    Where helpers of Git write, the signal is ignored and becomes an error that Git names;
    Git itself would go on after such an error in a listing, so there the signal ends it.
    """
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN if helpers else signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (written, written))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def _text(errors: IO[bytes]) -> str:
    """Read the end of what Git complained about."""
    size = errors.seek(0, os.SEEK_END)
    errors.seek(max(size - 4096, 0))
    return errors.read().decode("utf-8", "replace")


def _refusal(status: int, text: str, most: int) -> RefusedError:
    # Git names a proxy that it cannot use with the password in it (http.c).
    _log.warning("git: status %s: %a", status, _CREDENTIALS.sub("://", text))
    if status == -signal.SIGXFSZ or _TOO_LARGE.search(text):
        return TooLargeError(f"larger than {most // MEBIBYTE} MiB")
    for pattern, said, option in _SSH_SENTENCES:
        if re.search(pattern, text, re.IGNORECASE):
            return RefusedError(said, option)
    return RefusedError(sentence(text) or f"Git cannot read it (exit status {status})")


def sentence(text: str) -> str | None:
    """Say in our words what Git said in its own; None where nothing fits."""
    text = _ADDRESS.sub("", text)
    for pattern, said in _SENTENCES:
        if re.search(pattern, text, re.IGNORECASE):
            return said
    return None


def _options(limits: Limits) -> list[str]:
    settings = (*_SETTINGS, f"http.lowSpeedTime={limits.stall_seconds}")
    return [part for setting in settings for part in ("-c", setting)]


def _end_group(leader: int) -> None:
    """End Git's helpers too: they outlive a Git that was killed, and hold its pipes open."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return
