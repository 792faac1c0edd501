"""What people set without a repository: small options, each checked by one model.

A wrong value is named with its reason and the last good one stays in force.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from src.hosts import is_host

_MOST = 16
_ADDRESS = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_TIME = re.compile(r"[0-9]{1,6}[smhd]?")
_SYSLOG = re.compile(r"(?P<host>\[[^\]]*\]|[^:/\[\]]*)(:(?P<port>[0-9]{1,5}))?(/(?P<format>\w+))?")
_FORMATS = ("default", "cef", "json", "splunk")


def _words(value: object) -> object:
    """Cut a list at commas and white space; leave anything else to the type's own check."""
    if not isinstance(value, str):
        return value
    text = value.strip(", \t\n")
    return tuple(re.split(r"[,\s]+", text)) if text else ()


def _addresses(found: tuple[str, ...]) -> tuple[str, ...]:
    if len(found) > _MOST:
        raise ValueError(f"more than {_MOST} addresses")
    if not all(_ADDRESS.fullmatch(text) and ".." not in text for text in found):
        raise ValueError("not a list of e-mail addresses")
    return found


def _address(text: str) -> str:
    if text and not _ADDRESS.fullmatch(text):
        raise ValueError("not an e-mail address")
    return text


def _host(text: str) -> str:
    if text and not is_host(text):
        raise ValueError("neither a host's name nor an address")
    return text


def _time(text: str) -> str:
    """Take a number with one of Wazuh's units (config/authd-config.c, get_time_interval)."""
    if not _TIME.fullmatch(text):
        raise ValueError("not a time such as 0, 30m, 1h or 7d")
    return text


def _feed(text: str) -> str:
    if not text:
        return text
    try:
        parts = urlsplit(text)
        known = parts.scheme in ("http", "https", "file")
        plain = text.isascii() and text.isprintable() and " " not in text and len(text) < 2048
        whole = bool(parts.hostname if parts.scheme != "file" else parts.path)
        fine = known and plain and whole and not parts.username and parts.port != 0
    except ValueError:
        fine = False
    if not fine:
        raise ValueError("not an http, https or file address without a password")
    return text


class SyslogServer(BaseModel):
    """One server that alerts are sent to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str
    port: int = 514
    format: str = "default"


def _servers(value: object) -> object:
    found = _words(value)
    if not isinstance(found, tuple):
        return found
    if len(found) > _MOST:
        raise ValueError(f"more than {_MOST} servers")
    return tuple(_server(str(text)) for text in found)


def _server(text: str) -> SyslogServer:
    match = _SYSLOG.fullmatch(text)
    host = (match["host"] if match else "").strip("[]")
    if match is None or not is_host(host):
        raise ValueError("not host[:port][/format], with brackets around an IPv6 address")
    port, form = int(match["port"] or 514), match["format"] or "default"
    if not 1 <= port <= 65535:
        raise ValueError("a port is not a number from 1 to 65535")
    if form not in _FORMATS:
        raise ValueError(f"a format is none of {', '.join(_FORMATS)}")
    return SyslogServer(host=host, port=port, format=form)


_Level = Annotated[int, Field(ge=1, le=16)]
_Words = Annotated[tuple[str, ...], BeforeValidator(_words)]


class Options(BaseModel):
    """The options' values. An option has the field's name with dashes."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    log_level: Literal["info", "debug", "trace"] = "info"
    log_alert_level: _Level = 3
    email_to: Annotated[_Words, AfterValidator(_addresses)] = ()
    email_from: Annotated[str, AfterValidator(_address)] = ""
    email_smtp_server: Annotated[str, AfterValidator(_host)] = ""
    email_alert_level: _Level = 12
    syslog_output: Annotated[tuple[SyslogServer, ...], BeforeValidator(_servers)] = ()
    agent_force: bool = True
    agent_force_disconnected_time: Annotated[str, AfterValidator(_time)] = "1h"
    agent_force_after_registration_time: Annotated[str, AfterValidator(_time)] = "1h"
    vulnerability_detection: bool = False
    vulnerability_feed_url: Annotated[str, AfterValidator(_feed)] = ""

    @model_validator(mode="after")
    def _has_a_way_for_mail(self) -> Self:
        if self.email_to and not (self.email_from and self.email_smtp_server):
            raise ValueError("needs email-from and email-smtp-server as well")
        return self

    @property
    def debug(self) -> int:
        """The level of Wazuh's `….debug` options."""
        return ("info", "debug", "trace").index(self.log_level)


NAMES = tuple(name.replace("_", "-") for name in Options.model_fields)
_REASONS = {
    "literal_error": "not info, debug or trace",
    "greater_than_equal": "not a number from 1 to 16",
    "less_than_equal": "not a number from 1 to 16",
}


def parse(
    raw: Mapping[str, Any], good: Mapping[str, Any]
) -> tuple[Options, dict[str, Any], dict[str, str]]:
    """Check what is set; where it is wrong, what was good before or the default counts.

    Returns the values, the texts that they come from (to be given as `good` the next time), and
    the reasons by option.
    """
    values = {name: value for name, value in raw.items() if name in NAMES}
    problems: dict[str, str] = {}
    for base in (good, {}):
        try:
            return _model(values), values, problems
        except ValidationError as error:
            found = _problems(error)
        # What mail lacks only because of another wrong option is no reason of its own.
        follows = {"email-to"} if {"email-from", "email-smtp-server"} & set(problems) else set()
        problems |= {name: why for name, why in found.items() if name not in {*problems, *follows}}
        wrong = set(found) | (
            {"email-from", "email-smtp-server"} if "email-to" in found else set()
        )
        values = {name: value for name, value in values.items() if name not in wrong}
        values |= {name: value for name, value in base.items() if name in wrong}
    try:
        return _model(values), values, problems
    except ValidationError:
        return Options(), {}, problems


def _model(values: Mapping[str, Any]) -> Options:
    return Options(**{name.replace("-", "_"): value for name, value in values.items()})


def _problems(error: ValidationError) -> dict[str, str]:
    """Say each reason in our words; pydantic's would repeat fields and types."""
    found = {}
    for problem in error.errors(include_url=False, include_input=False):
        name = str(problem["loc"][0]).replace("_", "-") if problem["loc"] else "email-to"
        reason = problem.get("ctx", {}).get("error")
        found[name] = str(reason or _REASONS.get(problem["type"], "not of the right type"))
    return found
