"""JSON Web Tokens signed with ES512, by the `openssl` program: Python has no such signature.

The private key is handed over as an open file, never as an argument. A token that was verified
once is remembered until it expires.
"""

import base64
import json
import os
import subprocess
import time
from pathlib import Path

from .home import belongs_to_wazuh

SIZE = 66
"""Bytes of each half of a signature on the curve secp521r1."""
AUDIENCE = "Wazuh API REST"


class TokenError(Exception):
    """The token is not one of ours, or expired."""


class KeyPair:
    """private_key.pem and public_key.pem as they were at the first use."""

    def __init__(self, folder: Path):
        private, public = folder / "private_key.pem", folder / "public_key.pem"
        if not (private.is_file() and public.is_file()):
            _generate(private, public)
        self._private, self._public = private.read_bytes(), public.read_bytes()
        self._known: dict[str, dict] = {}

    def sign(self, payload: dict) -> str:
        """Return a token; raise OSError where openssl cannot sign."""
        head = _text(json.dumps({"alg": "ES512", "typ": "JWT"}).encode())
        body = f"{head}.{_text(json.dumps(payload).encode())}"
        signature = openssl(["dgst", "-sha512", "-sign", "{}"], body.encode(), self._private)
        return f"{body}.{_text(_raw(signature))}"

    def verify(self, token: str) -> dict:
        """Return a token's payload; raise TokenError."""
        payload = self._known.get(token)
        if payload is None:
            payload = self._check(token)
            self._known[token] = payload
        if payload["exp"] < time.time():
            self._known.pop(token, None)
            raise TokenError("Invalid token")
        return payload

    def _check(self, token: str) -> dict:
        try:
            head, body, signature = token.split(".")
            payload = json.loads(_bytes(body))
            if json.loads(_bytes(head))["alg"] != "ES512" or payload["aud"] != AUDIENCE:
                raise TokenError("Invalid token")
            openssl(
                ["dgst", "-sha512", "-verify", "{}", "-signature", "{}"],
                f"{head}.{body}".encode(),
                self._public,
                _der(_bytes(signature)),
            )
        except (ValueError, KeyError, TypeError, OSError):
            raise TokenError("Invalid token") from None
        return payload


def _generate(private: Path, public: Path) -> None:
    key = openssl(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp521r1"], b"")
    private.write_bytes(key)
    public.write_bytes(openssl(["pkey", "-pubout"], key))
    for path in (private, public):
        belongs_to_wazuh(path, 0o640)


def openssl(arguments: "list[str]", data: bytes, *files: bytes) -> bytes:
    """Run openssl on data; `{}` stands for a file with given content. Raise OSError."""
    descriptors = [_memory(content) for content in files]
    names = iter(descriptors)
    words = [f"/dev/fd/{next(names)}" if word == "{}" else word for word in arguments]
    try:
        done = subprocess.run(
            ["openssl", *words], input=data, capture_output=True, pass_fds=descriptors, check=False
        )
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    if done.returncode:
        raise OSError(f"openssl {arguments[0]}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def _memory(content: bytes) -> int:
    descriptor = os.memfd_create("stand-in")
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _raw(signature: bytes) -> bytes:
    """Turn openssl's DER signature into the two numbers a token holds."""
    start = 3 if signature[1] & 0x80 else 2
    halves = []
    for _ in range(2):
        length = signature[start + 1]
        number = int.from_bytes(signature[start + 2 : start + 2 + length], "big")
        halves.append(number.to_bytes(SIZE, "big"))
        start += 2 + length
    return b"".join(halves)


def _der(raw: bytes) -> bytes:
    if len(raw) != 2 * SIZE:
        raise ValueError("wrong length")
    body = b""
    for half in (raw[:SIZE], raw[SIZE:]):
        digits = half.lstrip(b"\0") or b"\0"
        digits = b"\0" + digits if digits[0] & 0x80 else digits
        body += b"\x02" + bytes([len(digits)]) + digits
    head = bytes([len(body)]) if len(body) < 0x80 else b"\x81" + bytes([len(body)])
    return b"\x30" + head + body
