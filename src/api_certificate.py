"""The API's certificate while another authority is related: what to ask for, and what serves.

Whatever that authority does or leaves undone, some certificate serves: theirs while it holds, else
our own authority's. Pure, but for keys and signing requests, which are made here.
"""

import datetime

from src import cluster, digests, secrets
from src.relations import CERTIFICATES, BadDataError, Note, NotYetError, Relation, RevokedError

_SPARE = datetime.timedelta(minutes=15)
"""So long before a certificate ends ours takes its place at the latest, if no other came."""
_PAST = "past"
"""The key of a request that says what became of the certificate before it."""
_OURS = "our own authority's serves"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Names that no other authority signs; what calls a unit from inside knows its certificate."""


def follow(
    relation: Relation | None,
    names: cluster.Names,
    hosts: tuple[str, ...],
    contents: secrets.Contents,
    now: datetime.datetime,
) -> tuple[dict[str, secrets.Content], tuple[Note, ...]]:
    """Follow the certificate of the relation, or go back to our own authority's."""
    present = contents.get(secrets.API_IDENTITY, {})
    if relation is None:
        foreign = "request" in present
        return ({secrets.API_IDENTITY: secrets.own_identity(present)} if foreign else {}), ()
    request, identity, note = _request(names, hosts, contents, now), present, None
    try:
        issued = _issued(relation, request, now)
        if issued:
            request = {key: value for key, value in request.items() if key != _PAST}
            identity = present | issued
        elif _ends(present, now):
            request = request | {_PAST: f"the last one ended {_minute(present['expiry'])}"}
    except RevokedError:
        # Its key may be known to others, so it is neither used nor asked for again.
        if present.get("request") == _mark(request):
            identity = secrets.own_identity(present)
        request = _new_request(names, request["hosts"]) | {_PAST: "the last one was revoked"}
    except NotYetError as reason:
        note = Note(CERTIFICATES, f"waiting, {reason}")
    except BadDataError as reason:
        note = Note(CERTIFICATES, str(reason), bad=True)
    if _ends(identity, now):
        identity = secrets.own_identity(identity)
    given = {secrets.CERTIFICATE_REQUEST: request}
    if identity != present:
        given[secrets.API_IDENTITY] = identity
    return given, _said(relation, note, identity, request)


def _ends(identity: secrets.Content, now: datetime.datetime) -> bool:
    """Tell whether another authority's certificate has ended, or does before it is looked at."""
    if "request" not in identity:
        return False
    expiry = datetime.datetime.fromisoformat(identity["expiry"])
    left = expiry - datetime.datetime.fromisoformat(identity["renew-after"])
    return now >= expiry - min(_SPARE, left / 4)


def _said(
    relation: Relation, note: Note | None, identity: secrets.Content, request: secrets.Content
) -> tuple[Note, ...]:
    """Say what is wrong or awaited, and what serves meanwhile; nothing while all is well."""
    foreign = "request" in identity
    if note is not None:
        serves = f"the present one ends {_minute(identity['expiry'])}" if foreign else _OURS
        return (Note(note.subject, f"{note.sentence}; {serves}", note.bad),)
    if identity.get("request") == _mark(request):
        return ()
    if foreign:
        what = f"to renew the certificate, which ends {_minute(identity['expiry'])}"
    else:
        past = f"; {request[_PAST]}, {_OURS}" if _PAST in request else ""
        what = f"to issue the certificate{past}"
    return (Note(CERTIFICATES, f"waiting for {relation.application} {what}"),)


def _minute(moment: str) -> str:
    return f"{moment[:16].replace('T', ' ')} UTC"


def _request(
    names: cluster.Names,
    hosts: tuple[str, ...],
    contents: secrets.Contents,
    now: datetime.datetime,
) -> secrets.Content:
    """Return the request to stand: a new one for other names, or when its certificate ages."""
    asked = " ".join(host for host in hosts if host not in _LOOPBACK)
    request = contents.get(secrets.CERTIFICATE_REQUEST, {})
    present = contents.get(secrets.API_IDENTITY, {})
    answered = present.get("request", "") == _mark(request)
    aged = answered and now.isoformat() >= present.get("renew-after", "")
    if request.get("hosts") == asked and not aged:
        return request
    return _new_request(names, asked)


def _new_request(names: cluster.Names, asked: str) -> secrets.Content:
    from src import certificates

    text, key = certificates.request(names.application, asked.split())
    return {"signing-request": text.strip(), "private-key": key.strip(), "hosts": asked}


def _issued(
    relation: Relation, request: secrets.Content, now: datetime.datetime
) -> secrets.Content | None:
    from src.relations import certificates

    text, key = request["signing-request"], request["private-key"]
    found = certificates.find(relation.theirs, text, key, now)
    if found is None:
        return None
    issued = {
        "certificate": found.chain,
        "private-key": key,
        "request": _mark(request),
        "renew-after": found.renew_after.isoformat(),
        "expiry": found.expiry.isoformat(),
        "authority": found.authority,
    }
    if _ends(issued, now):
        raise BadDataError(
            f"the certificate ends {_minute(issued['expiry'])}, too soon to be used"
        )
    return issued


def _mark(request: secrets.Content) -> str:
    """Tell one request from another."""
    return digests.plain(request.get("signing-request", "").encode())[:32]
