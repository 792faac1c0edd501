"""How a Git server is met over ssh: our private key, and the public keys it may have.

Checked before anything uses them. The reasons never repeat what was given.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

KEY = "private-key"
_LONGEST = 32 * 1024
_MARKERS = ("@cert-authority", "@revoked")
_TYPES = re.compile(
    r"ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-ssh-ed25519@openssh\.com|"
    r"sk-ecdsa-sha2-nistp256@openssh\.com"
)
_OPENSSH = b"openssh-key-v1\0"
_NO_CIPHER = b"\0\0\0\x04none"
_ENCRYPTED = "the private key is encrypted; give one without a passphrase"
_DAMAGED = "the private key cannot be read"
_HOSTS = re.compile(r"[A-Za-z0-9\[\]:.,*?!|+/=_-]{1,1024}")


@dataclass(frozen=True, slots=True)
class DeployKey:
    """What the option `custom-config-ssh-key` gives: a private key, or why there is none."""

    value: str | None = field(default=None, repr=False)
    problem: str | None = None


def parse_key(content: Mapping[str, str]) -> DeployKey:
    """Check the secret's content: one private key that nobody has to be asked for."""
    if KEY not in content:
        return DeployKey(problem=f'the secret has no key "{KEY}"')
    text = content[KEY]
    problem = _key_problem(text)
    return DeployKey(problem=problem) if problem else DeployKey(f"{text.strip()}\n")


def _key_problem(text: str) -> str | None:
    if not text.strip():
        return "the private key is empty"
    if len(text) > _LONGEST:
        return f"the private key is longer than {_LONGEST} characters"
    if "\r" in text:
        return "the private key has Windows line ends (CRLF); give it with plain ones"
    if re.match(r"\s*(ssh-|ecdsa-|sk-|-----BEGIN PUBLIC|---- BEGIN SSH2)", text):
        return "this is a public key; the private one is needed"
    if "PRIVATE KEY-----" not in text:
        return "not a private key in OpenSSH or PEM form"
    return _unreadable(text)


def _unreadable(text: str) -> str | None:
    """Look at the outer form alone, since every hook does; ssh tells the rest."""
    if "ENCRYPTED" in text:
        return _ENCRYPTED
    if "BEGIN OPENSSH PRIVATE KEY" not in text:
        return None
    body = re.sub(r"-----[A-Z ]*-----|\s", "", text)
    try:
        blob = base64.b64decode(body, validate=True)
    except binascii.Error:
        return _DAMAGED
    if not blob.startswith(_OPENSSH):
        return _DAMAGED
    # OpenSSH's PROTOCOL.key: the name of the cipher comes first.
    return None if blob.startswith(_OPENSSH + _NO_CIPHER) else _ENCRYPTED


def known_hosts_problem(text: str) -> str | None:
    """Tell why the option `custom-config-known-hosts` is not what ssh reads; None: it is."""
    lines = [line.strip() for line in text.splitlines()]
    numbered = [
        (number, line) for number, line in enumerate(lines, 1) if line and not line.startswith("#")
    ]
    if not numbered:
        return "there is no host's public key in it"
    if len(text) > _LONGEST:
        return f"longer than {_LONGEST} characters"
    return next(
        (
            f"line {number} is not `host type key` as in ssh's known_hosts"
            for number, line in numbered
            if not _is_known_host(line)
        ),
        None,
    )


def _is_known_host(line: str) -> bool:
    if not line.isascii() or not line.replace("\t", " ").isprintable():
        return False
    words = line.split()
    if words[0] in _MARKERS:
        words = words[1:]
    if len(words) < 3 or not _HOSTS.fullmatch(words[0]) or not _TYPES.fullmatch(words[1]):
        return False
    try:
        blob = base64.b64decode(words[2], validate=True)
    except binascii.Error:
        return False
    name = words[1].encode()
    return blob.startswith(len(name).to_bytes(4, "big") + name) and len(blob) > len(name) + 4
