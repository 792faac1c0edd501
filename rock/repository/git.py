"""Runs Git so that a repository and its server can harm nothing but this one run."""

import logging
import os
import re
import resource
import signal
import subprocess
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from repository.places import MEBIBYTE, Limits, RefusedError

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

# Git's and curl's own words, in English because LC_ALL is C, and what people are told.
_SENTENCES = (
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
        r"reset by peer|empty reply|early eof|hung up|unexpected disconnect|recv failure|"
        r"invalid index-pack output|bad line length|rpc failed|transfer closed|"
        r"not valid: is this a git repository|error: 5\d\d",
        "the server breaks off or does not answer as a Git server",
    ),
    (r"not found|error: 404", "there is no repository at this address"),
)
_ADDRESS = re.compile(r"https?://\S+")
_TOO_LARGE = re.compile(r"file too large", re.IGNORECASE)


class TooLargeError(RefusedError):
    """Git wanted to write more than it may."""


@dataclass(frozen=True, slots=True)
class Git:
    """Git in one bare repository, until `deadline` on the monotonic clock."""

    directory: Path
    deadline: float
    limits: Limits

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
                    env=_environment(self.directory, protocols),
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
    _log.warning("git: status %s: %a", status, text)
    if status == -signal.SIGXFSZ or _TOO_LARGE.search(text):
        return TooLargeError(f"larger than {most // MEBIBYTE} MiB")
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


def _environment(directory: Path, protocols: str) -> dict[str, str]:
    """Nothing of the machine's or a person's own configuration, and nobody to ask."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(directory),
        "LC_ALL": "C",
        "GIT_ALLOW_PROTOCOL": protocols,
        "GIT_ASKPASS": "/bin/false",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_PROTOCOL_FROM_USER": "0",
        "GIT_TERMINAL_PROMPT": "0",
    }


def _end_group(leader: int) -> None:
    """End Git's helpers too: they outlive a Git that was killed, and hold its pipes open."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return
