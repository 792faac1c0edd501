"""api/configuration/api.yaml, read with the little YAML it needs."""

import re
from pathlib import Path

from .configuration import ConfigurationError

KNOWN = {
    "host",
    "port",
    "drop_privileges",
    "experimental_features",
    "max_upload_size",
    "authentication_pool_size",
    "intervals",
    "https",
    "logs",
    "cors",
    "access",
    "upload_configuration",
    "cache",
    "use_only_authd",
}
FILE_NAME = re.compile(r"[\w\-.]+")


class ApiSettings:
    """What apid is told, with the real defaults."""

    def __init__(self, values: dict):
        unknown = set(values) - KNOWN
        if unknown:
            raise ConfigurationError(
                f"Configuration not valid. ERROR: 2000 - Additional "
                f"properties are not allowed ({', '.join(unknown)})"
            )
        host = values.get("host", ["0.0.0.0", "::"])
        self.hosts = [host] if isinstance(host, str) else list(host)
        self.port = int(values.get("port", 55000))
        https, access = values.get("https") or {}, values.get("access") or {}
        self.https = https.get("enabled", True)
        self.key = https.get("key", "server.key")
        self.certificate = https.get("cert", "server.crt")
        for name in (self.key, self.certificate):
            if not FILE_NAME.fullmatch(name):
                raise ConfigurationError(
                    f"Configuration not valid. ERROR: 2000 - '{name}' "
                    "does not match '^[\\\\w\\\\-.]+$'"
                )
        self.login_attempts = int(access.get("max_login_attempts", 50))
        self.block_seconds = int(access.get("block_time", 300))
        self.requests_per_minute = int(access.get("max_request_per_minute", 300))


def read(path: Path) -> ApiSettings:
    """Read the file; raise ConfigurationError."""
    try:
        return ApiSettings(parse(path.read_text() if path.is_file() else ""))
    except (ValueError, AttributeError, TypeError) as error:
        raise ConfigurationError(f"Configuration not valid. ERROR: 2000 - {error}") from None


def parse(text: str) -> dict:
    """Parse mappings, lists of scalars and scalars; indentation says what belongs to what."""
    lines = []
    for raw in text.splitlines():
        line = re.sub(r"(^|\s)#.*$", "", raw).rstrip()
        if line.strip() and line.strip() != "---":
            lines.append((len(line) - len(line.lstrip()), line.strip()))
    value, rest = _block(lines, 0)
    if rest:
        raise ValueError(f"cannot read the line {rest[0][1]!r}")
    return value if isinstance(value, dict) else {}


def _block(lines: "list[tuple[int, str]]", depth: int) -> "tuple[dict | list, list]":
    mapping: dict = {}
    items: list = []
    while lines and lines[0][0] >= depth:
        indent, line = lines[0]
        if line.startswith("- "):
            items.append(_scalar(line[2:]))
            lines = lines[1:]
            continue
        name, colon, rest = line.partition(":")
        if not colon or indent != depth:
            break
        lines = lines[1:]
        if rest.strip():
            mapping[_scalar(name)] = _scalar(rest)
        elif lines and (lines[0][0] > indent or lines[0][1].startswith("- ")):
            mapping[_scalar(name)], lines = _block(lines, lines[0][0])
        else:
            mapping[_scalar(name)] = None
    return items or mapping, lines


def _scalar(text: str) -> object:
    text = text.strip()
    if text.startswith("[") and text.endswith("]"):
        return [_scalar(part) for part in text[1:-1].split(",") if part.strip()]
    if len(text) > 1 and text[0] in "'\"" and text[-1] == text[0]:
        return text[1:-1]
    if text.lower() in ("yes", "true", "no", "false"):
        return text.lower() in ("yes", "true")
    return int(text) if re.fullmatch(r"-?\d+", text) else text
