"""The endpoint `certificates`: the interface tls-certificates v1, one certificate for all units.

Our side: `certificate_signing_requests`. Theirs: `certificates` and `request_errors`, JSON lists
(canonical/charmlibs interfaces/tls-certificates/interface/v1). The published library of this
interface observes events where it is made and costs as much to import as ops itself, in every
hook of every unit; the models here are held against its provider's code by a test.
"""

import datetime
import json
from collections.abc import Mapping

from cryptography import x509
from pydantic import BaseModel, ConfigDict, Json, ValidationError

from src import certificates
from src.certificates import Issued
from src.relations import BadDataError, NotYetError, RevokedError

_LONGEST = 256 * 1024


class _Entry(BaseModel):
    """One certificate of the provider's list; what else is in it is of no interest."""

    model_config = ConfigDict(frozen=True)

    ca: str
    certificate_signing_request: str
    certificate: str
    chain: tuple[str, ...] | None = None
    revoked: bool | None = None


class _Error(BaseModel):
    model_config = ConfigDict(frozen=True)

    name: str = ""
    message: str = ""


class _Refusal(BaseModel):
    model_config = ConfigDict(frozen=True)

    csr: str
    error: _Error


class _Theirs(BaseModel):
    model_config = ConfigDict(frozen=True)

    certificates: Json[tuple[_Entry, ...]] = ()
    request_errors: Json[tuple[_Refusal, ...]] = ()


def wanted(request: str) -> dict[str, str]:
    """Return our side: one signing request, for no authority."""
    asked = [{"certificate_signing_request": request.strip(), "ca": False}]
    return {"certificate_signing_requests": json.dumps(asked, sort_keys=True)}


def find(
    theirs: Mapping[str, str], request: str, private_key: str, now: datetime.datetime
) -> Issued | None:
    """Return the certificate given for this request, or None while there is none.

    Raises BadDataError for data of another form, a certificate for another key, one that has
    ended, a chain that does not hold, and a request that was refused; RevokedError for one that
    was revoked; NotYetError for one that is not valid yet.
    """
    data = _read(theirs)
    refused = next((one for one in data.request_errors if _same(one.csr, request)), None)
    if refused is not None:
        raise BadDataError(f"refused by the provider: {_one_line(refused.error)}")
    entry = next(
        (one for one in data.certificates if _same(one.certificate_signing_request, request)), None
    )
    if entry is None:
        return None
    if entry.revoked:
        raise RevokedError("the provider revoked the certificate")
    try:
        return certificates.check(
            [entry.certificate, *(entry.chain or ()), entry.ca], private_key, now
        )
    except certificates.TooEarlyError as reason:
        raise NotYetError(str(reason)) from None
    except certificates.BadCertificateError as reason:
        raise BadDataError(str(reason)) from None


def _read(theirs: Mapping[str, str]) -> _Theirs:
    known = {name: theirs[name] for name in _Theirs.model_fields if theirs.get(name)}
    if sum(map(len, known.values())) > _LONGEST:
        raise BadDataError(f"the data are longer than {_LONGEST} bytes")
    try:
        return _Theirs.model_validate(known)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BadDataError(f"{where} is not as tls-certificates v1 has it") from None


def _same(one: str, other: str) -> bool:
    """Compare two requests by what they say: another program may break the lines otherwise."""
    try:
        left, right = (x509.load_pem_x509_csr(text.encode()) for text in (one, other))
    except certificates.ODD:
        return False
    return left == right


def _one_line(error: _Error) -> str:
    text = " ".join(f"{error.name} {error.message}".split())
    return "".join(letter for letter in text if letter.isprintable())[:200] or "no reason given"
