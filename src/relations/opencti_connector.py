"""The endpoint `opencti-connector`: the interface opencti_connector v0, to look alerts up.

Here the connector provides and OpenCTI requires (canonical/charm-relation-interfaces). Our side:
`connector_charm_name`, after which OpenCTI names the user that it makes, and `connector_type`,
which decides its group: `Connectors`, not `Administrators`. Theirs: `opencti_url`, and in
`opencti_token` the id of a Juju secret with `token` (canonical/opencti-operator src/charm.py).
"""

import re
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from src.hosts import is_host
from src.relations import NotYetError, lent
from src.relations.lent import SecretId

URL, TOKEN = "opencti_url", "opencti_token"
_CHARM = "wazuh-server"
_TYPE = "EXTERNAL_IMPORT"
"""What the other charm of this name tells, so that OpenCTI knows this one by the same user."""
_LONGEST = 2048
_INSIDE = re.compile(r"[a-z0-9-]+\.[a-z0-9-]+\.svc(\.cluster\.local)?")
"""A Service's name: it leads nowhere but into the Kubernetes cluster that asks."""
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*/?")
_WORD = re.compile(r"[!-~]{8,512}")


def _address(text: str) -> str:
    """Take https anywhere; http, which the deployed OpenCTI tells, within the cluster alone."""
    if not text:
        return ""
    if len(text) > _LONGEST or not re.fullmatch(r"[!-~]+", text):
        raise ValueError("is not an address of plain characters")
    try:
        url = urlsplit(text)
        host, port = url.hostname or "", url.port
    except ValueError:
        raise ValueError("is not an address") from None
    if url.scheme not in ("https", "http") or not is_host(host) or port == 0:
        raise ValueError("is not an address of https")
    shown = f"[{host}]" if ":" in host else host
    if url.netloc.lower() != (shown if port is None else f"{shown}:{port}"):
        raise ValueError("has more in it than host and port")
    if url.query or url.fragment or not _PATH.fullmatch(url.path):
        raise ValueError("has more in it than an address")
    if url.scheme == "http" and not _INSIDE.fullmatch(host):
        raise ValueError("is not https, and no Service of this Kubernetes cluster")
    return f"{url.scheme}://{url.netloc.lower()}{url.path.rstrip('/')}"


def _token(text: str) -> str:
    if not _WORD.fullmatch(text):
        raise ValueError("is too short, too long or not printable")
    return text


class _Theirs(BaseModel):
    """What is read of the databag."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    url: Annotated[str, AfterValidator(_address)] = Field("", alias=URL)
    token: SecretId = Field("", alias=TOKEN)


class _Token(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    token: Annotated[str, AfterValidator(_token)]


def wanted() -> dict[str, str]:
    """Return our side."""
    return {"connector_charm_name": _CHARM, "connector_type": _TYPE}


def references(theirs: Mapping[str, str]) -> tuple[str, ...]:
    """Return the ids of the secrets to read, those that are ids at all."""
    return lent.ids(theirs, TOKEN)


def find(theirs: Mapping[str, str], contents: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return where OpenCTI is and the token that it lets in.

    `contents` are those of the other side's secrets that can be read, by id. Raises NotYetError
    while something is missing, BadDataError for what is not as the interface has it; neither text
    holds a value.
    """
    data = lent.read(_Theirs, {key: theirs[key] for key in (URL, TOKEN) if key in theirs})
    if not data.url:
        raise NotYetError("to tell its address")
    secret = lent.content(contents, TOKEN, data.token)
    found = lent.read(_Token, {key: secret[key] for key in ("token",) if key in secret})
    return {"url": data.url, "token": found.token}
