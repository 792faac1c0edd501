"""Certificates with which syslog senders are let in on port 6514."""

import datetime
import re

import ops

from src import secrets

DAYS = 365
LONGEST_DAYS = 3650
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")


class RefusedError(ValueError):
    """A certificate that is not issued; the text says why, naming the parameter."""


def issue(
    model: ops.Model,
    *,
    name: str,
    days: int,
    request: str,
    now: datetime.datetime,
) -> dict[str, str]:
    """Issue a certificate and return the action's result, which never holds a private key.

    With a signing request the certificate itself is the result. Without one, key and certificate
    go into a secret of the application that the result names. Raises RefusedError.
    """
    _check(name, days)
    authority = _authority(model)
    life = datetime.timedelta(days=days)
    if request:
        return {"name": name, **_sign(authority, name, request, now, life)}
    return {"name": name, **_make(model, authority, name, now, life)}


def _check(name: str, days: int) -> None:
    if len(name) > 63 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise RefusedError("name: letters, digits, dots and dashes only, 63 at most")
    if name.lower() == secrets.PEER_HOST:
        raise RefusedError("name: the application's units know each other by this one")
    if not 1 <= days <= LONGEST_DAYS:
        raise RefusedError(f"days: a number from 1 to {LONGEST_DAYS}")


def _authority(model: ops.Model) -> secrets.Content:
    try:
        content = secrets.read(model, secrets.AUTHORITY)
    except secrets.UnavailableError:
        content = None
    if not content:
        raise RefusedError("the application's certificate authority cannot be read yet; try again")
    return content


def _sign(
    authority: secrets.Content,
    name: str,
    request: str,
    now: datetime.datetime,
    life: datetime.timedelta,
) -> dict[str, str]:
    from src import certificates

    pair = secrets.authority_pair(authority)
    try:
        certificate = certificates.sign(pair, name, request, now=now, life=life)
    except certificates.BadRequestError as error:
        raise RefusedError(f"signing-request: {error}") from None
    return {"certificate": certificate, "ca": secrets.trusted(authority)}


def _make(
    model: ops.Model,
    authority: secrets.Content,
    name: str,
    now: datetime.datetime,
    life: datetime.timedelta,
) -> dict[str, str]:
    from src import certificates

    pair = certificates.issue(
        secrets.authority_pair(authority),
        name,
        hosts=(name,),
        usages=(certificates.CLIENT,),
        now=now,
        life=life,
    )
    content = {
        "certificate": pair.certificate,
        "private-key": pair.private_key,
        "authority": secrets.trusted(authority),
    }
    secret_id = secrets.id_of(secrets.put(model, f"sender-{name}", content))
    return {"secret": secret_id, "command": f"juju show-secret --reveal {secret_id}"}
