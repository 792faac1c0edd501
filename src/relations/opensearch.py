"""The endpoint `opensearch-client`: the interface opensearch_client v0, where alerts are sent.

Our side: `index`, `extra-user-roles` and `requested-secrets`. Theirs: `endpoints`, and the ids of
two Juju secrets: `secret-user` (username, password) and `secret-tls` (tls-ca) (canonical/charmlibs
interfaces/opensearch_client/interface/v0). Wazuh makes many indices and their templates, so the
user has to be one of the role admin, as everybody's who runs Wazuh. The published library loads
for longer than the whole charm, in every hook; a test holds what is here against its provider.
"""

import datetime
import json
import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
)

from src import certificates
from src.hosts import is_host
from src.relations import BadDataError, NotYetError, lent
from src.relations.lent import SecretId

INDEX = "wazuh-alerts"
"""Gives the user its name there; Filebeat and Wazuh name their indices themselves."""
USER, TLS = "secret-user", "secret-tls"
_LONGEST = 64 * 1024
_LONGEST_SECRET = 256 * 1024
_LONGEST_WORD = 512
_MOST = 100
_ENDPOINT = re.compile(
    r"(?P<host>\[(?=[^\]]*:)[0-9A-Fa-f:.]{2,45}\]|[^\s:/<>\[\]]{1,253}):(?P<port>[0-9]{1,5})"
)


def _hosts(text: object) -> tuple[str, ...]:
    """Return the endpoints, each once, in an order of their own: another order is no change."""
    if not isinstance(text, str) or len(text) > _LONGEST:
        raise ValueError(f"is longer than {_LONGEST} characters")
    found = {_host(item.strip(" \t")) for item in text.split(",") if item.strip(" \t")}
    if len(found) > _MOST:
        raise ValueError(f"has more than {_MOST} addresses")
    return tuple(sorted(found))


def _host(text: str) -> str:
    match = _ENDPOINT.fullmatch(text)
    named = match is not None and is_host(match["host"].strip("[]"))
    if match is None or not named or not 1 <= int(match["port"]) <= 65535:
        raise ValueError("is not host:port, with brackets around an IPv6 address")
    return f"https://{match['host'].lower()}:{int(match['port'])}"


def _word(text: str) -> str:
    """Take what fits on one line: `wazuh-keystore` reads one."""
    if not text or len(text) > _LONGEST_WORD or not text.isprintable():
        raise ValueError("is empty, too long or not printable")
    return text


def _name(text: str) -> str:
    if ":" in text:
        raise ValueError("has a colon")
    return _word(text)


class _Theirs(BaseModel):
    """What is read of the databag."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    endpoints: Annotated[tuple[str, ...], BeforeValidator(_hosts)] = ()
    user: SecretId = Field("", alias=USER)
    tls: SecretId = Field("", alias=TLS)


class _User(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    username: Annotated[str, AfterValidator(_name)]
    password: Annotated[str, AfterValidator(_word)]


def wanted() -> dict[str, str]:
    """Return our side."""
    return {
        "extra-user-roles": "admin",
        "index": INDEX,
        "requested-secrets": json.dumps(["username", "password", "tls", "tls-ca", "uris"]),
    }


def references(theirs: Mapping[str, str]) -> tuple[str, ...]:
    """Return the ids of the secrets to read, those that are ids at all."""
    return lent.ids(theirs, USER, TLS)


def find(
    theirs: Mapping[str, str],
    contents: Mapping[str, Mapping[str, str]],
    now: datetime.datetime,
) -> dict[str, str]:
    """Return where alerts are sent and as whom: hosts, username, password, authority.

    `contents` are those of the other side's secrets that can be read, by id. Raises
    NotYetError while something is missing, BadDataError for what is not as the interface has it;
    neither text holds a value.
    """
    data = lent.read(
        _Theirs, {key: theirs[key] for key in ("endpoints", USER, TLS) if key in theirs}
    )
    for key in ("username", "password"):
        if theirs.get(key):
            raise BadDataError(f"{key} is in the databag, where everybody reads it")
    if not data.endpoints:
        raise NotYetError("to tell its addresses")
    user, tls = (lent.content(contents, *pair) for pair in ((USER, data.user), (TLS, data.tls)))
    authority = tls.get("tls-ca", "")
    if not authority:
        raise NotYetError("to tell its certificate authority")
    if len(authority) > _LONGEST_SECRET:
        raise BadDataError(f"tls-ca is longer than {_LONGEST_SECRET} characters")
    found = lent.read(_User, {key: user[key] for key in ("username", "password") if key in user})
    try:
        trusted = certificates.authorities(authority, now)
    except certificates.BadCertificateError as reason:
        raise BadDataError(f"tls-ca: {reason}") from None
    return {
        "hosts": " ".join(data.endpoints),
        "username": found.username,
        "password": found.password,
        "authority": trusted,
    }
