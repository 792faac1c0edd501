"""The application's Juju secrets: made and renewed by the leader, read by every unit by label.

Ids are never stored. Contents are read in full only when something changed: the peers' databag
holds a keyed digest of them all, so that a quiet hook reads one secret instead of six.
"""

import contextlib
import datetime
import secrets
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

import ops

from src import digests, rotation
from src.rotation import API_IDENTITY, API_USERS, CLUSTER_KEY, ENROLMENT, Content

if TYPE_CHECKING:
    from cryptography import x509

    from src import certificates

AUTHORITY = "certificate-authority"
PEER_IDENTITY = "peer-identity"
LABELS = (CLUSTER_KEY, API_USERS, AUTHORITY, API_IDENTITY, PEER_IDENTITY, ENROLMENT)

INDEXER = "indexer"
OPENCTI = "opencti"
OPTIONAL_LABELS = (INDEXER, OPENCTI)
"""Secrets that are there only for some relations, and that every unit reads."""
NOT_RELATED = {"related": "no"}
"""Stands in a secret whose relation is gone: Juju keeps no empty one."""

CERTIFICATE_REQUEST = "certificate-request"
API_CLIENT = "api-client"
LEADERS_LABELS = (CERTIFICATE_REQUEST,)
"""Secrets that are there only for some relations, and that only the leader reads."""

USERS = ("wazuh", "wazuh-wui", "wazuh-charm", "wazuh-dashboard")
_PREVIOUS = "previous"
PEER_HOST = "peer.wazuh-server.internal"
LONGEST_PASSWORD = 512
_SHORTEST_PASSWORD = 2
_LETTERS_AND_DIGITS = string.ascii_letters + string.digits

Contents = Mapping[str, Content]


class _Answer(Protocol):
    """What a check of a secret's content gives."""

    @property
    def problem(self) -> str | None: ...


_Checked = TypeVar("_Checked", bound=_Answer)


class UnavailableError(Exception):
    """A secret that exists but cannot be read now; the text names it."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its private key, PEM."""

    certificate: str
    private_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Indexer:
    """Where alerts are sent, and as whom."""

    hosts: tuple[str, ...]
    """URLs."""
    username: str
    password: str = field(repr=False)
    authority: str
    """Whom its certificate has to come from, PEM."""


@dataclass(frozen=True, slots=True)
class OpenCti:
    """Where alerts are looked up, and with which token."""

    url: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Vault:
    """All that a unit needs of the application's secrets."""

    cluster_key: str = field(repr=False)
    digest_key: str = field(repr=False)
    users: tuple[tuple[str, str], ...] = field(repr=False)
    authority: str
    """The certificates of all authorities that count, PEM."""
    api: Identity
    peer: Identity
    token_private: str = field(repr=False)
    token_public: str
    enrolment: str = field(repr=False)
    digest: str
    """A keyed digest of every secret's content."""
    renew_after: str
    """When the leader has to renew a certificate, in ISO 8601 and UTC."""
    indexer: Indexer | None = None
    """None while no indexer is related, or has not told all."""
    opencti: OpenCti | None = None
    """None while no OpenCTI is related, or has not told all."""


@dataclass(frozen=True, slots=True)
class AgentPassword:
    """What the option `agent-password` gives: a password, or why there is none."""

    value: str | None = field(default=None, repr=False)
    problem: str | None = None


def digest_key(content: Content) -> str:
    """Return the key of all keyed digests, which stays when the cluster key is rotated."""
    return content.get("digest-key") or content["key"]


def read(model: ops.Model, label: str, *, refresh: bool = True) -> Content | None:
    """Read the content of the application's secret of this label; None when there is none.

    Raises UnavailableError when Juju refuses it for another reason.
    """
    try:
        secret = model.get_secret(label=label)
        return secret.get_content(refresh=True) if refresh else secret.get_content()
    except ops.SecretNotFoundError:
        return None
    except ops.ModelError:
        raise UnavailableError(label) from None


def read_all(
    model: ops.Model, labels: Sequence[str] = (*LABELS, *OPTIONAL_LABELS)
) -> dict[str, Content]:
    """Read the newest contents of the secrets that exist, by label. Raises UnavailableError."""
    found = {label: read(model, label) for label in labels}
    return {label: content for label, content in found.items() if content}


def first_missing(contents: Contents) -> str | None:
    """Return the label of the first secret that does not exist yet, or is not whole."""
    return next((label for label in LABELS if not _is_whole(label, contents)), None)


def digest(contents: Contents) -> str:
    """Return a keyed digest of all that units are to bring into force of these secrets."""
    found = _effective(contents)
    return digests.keyed(digest_key(found[CLUSTER_KEY]), found)


def _effective(contents: Contents) -> dict[str, Content]:
    optional = {label: contents[label] for label in OPTIONAL_LABELS if label in contents}
    return {label: rotation.effective(contents[label]) for label in LABELS} | optional


def open_vault(contents: Contents) -> Vault:
    """Return the secrets as units are to bring them into force.

    Call it when `first_missing` finds nothing. The end of a rotation changes nothing here, so
    that no unit has anything to do then.
    """
    contents = _effective(contents)
    users, api, peer = contents[API_USERS], contents[API_IDENTITY], contents[PEER_IDENTITY]
    return Vault(
        cluster_key=contents[CLUSTER_KEY]["key"],
        digest_key=digest_key(contents[CLUSTER_KEY]),
        users=tuple((name, users[name]) for name in USERS),
        authority=trusted(contents[AUTHORITY]),
        api=Identity(api["certificate"], api["private-key"]),
        peer=Identity(peer["certificate"], peer["private-key"]),
        token_private=api["jwt-private"],
        token_public=api["jwt-public"],
        enrolment=contents[ENROLMENT]["password"],
        digest=digest(contents),
        renew_after=_renew_after(contents).isoformat(),
        indexer=_indexer(contents.get(INDEXER, {})),
        opencti=_opencti(contents.get(OPENCTI, {})),
    )


def _indexer(content: Content) -> Indexer | None:
    if "hosts" not in content:
        return None
    return Indexer(
        hosts=tuple(content["hosts"].split()),
        username=content["username"],
        password=content["password"],
        authority=content["authority"],
    )


def _opencti(content: Content) -> OpenCti | None:
    return OpenCti(content["url"], content["token"]) if "url" in content else None


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is to become of the secrets besides their being there."""

    hosts: Sequence[str]
    agent_password: AgentPassword
    now: datetime.datetime
    given: Contents = field(default_factory=dict, repr=False)
    """Contents that other applications brought, by label; the rest follows from them."""
    proven: frozenset[str] = frozenset()
    """Labels of which what was to come is in force."""
    begin: Sequence[str] = ()
    """Labels of which a rotation is to begin."""
    policy: str = rotation.NEVER
    """Juju's rotation policy for secrets that are made now."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The secrets after the leader has seen to them, which a hook cannot read anew."""

    acted_on: Contents = field(repr=False)
    """What this hook may bring into force."""
    told: Contents = field(repr=False)
    """What Juju will have: besides, what rotations that begin now are to bring."""


def ensure(model: ops.Model, contents: Contents, wishes: Wishes) -> Kept:
    """Make what is missing, renew what expires, end and begin rotations; for the leader alone.

    What a rotation brings has to be Juju's before it is Wazuh's: this hook may still fail.
    """
    acted_on = {**contents, **wishes.given}
    told = dict(acted_on)
    for label, make in _recipes(model.app.name, wishes).items():
        wanted = make(acted_on)
        if not wanted:
            continue
        acted_on[label], told[label] = wanted, _begun(label, {**acted_on, label: wanted}, wishes)
        if label not in contents:
            model.app.add_secret(told[label], label=label, rotate=_rotate(label, wishes.policy))
        elif told[label] != contents[label]:
            model.get_secret(label=label).set_content(told[label])
    return Kept(acted_on, told)


def _begun(label: str, contents: Contents, wishes: Wishes) -> Content:
    if label not in wishes.begin:
        return contents[label]
    return rotation.begin(contents[label], _fresh(label, contents, wishes))


def _fresh(label: str, contents: Contents, wishes: Wishes) -> Content:
    """Make what a rotation is to bring."""
    if label == CLUSTER_KEY:
        return {"key": _random(32)}
    if label == API_USERS:
        return {name: _api_password() for name in USERS}
    if label == ENROLMENT:
        password = _random(32)
        return {"password": password, "generated": password}
    present = contents[label]
    theirs = _FOREIGN if "request" in present else ()
    foreign = {key: present[key] for key in theirs if key in present}
    made = _api_identity({AUTHORITY: contents[AUTHORITY], label: foreign}, wishes)
    return {key: value for key, value in made.items() if key not in foreign}


def _rotate(label: str, policy: str) -> ops.SecretRotate | None:
    if label not in rotation.PARTS or policy == rotation.NEVER:
        return None
    return ops.SecretRotate(policy)


def follow_policy(model: ops.Model, policy: str) -> bool:
    """Give every rotated secret this policy; True when all had it. For the leader alone."""
    wanted = ops.SecretRotate(policy)
    followed = True
    for label in rotation.PARTS:
        secret = model.get_secret(label=label)
        if (secret.get_info().rotation or ops.SecretRotate.NEVER) != wanted:
            secret.set_info(rotate=wanted)
            followed = False
    return followed


def put(model: ops.Model, label: str, content: Content, description: str = "") -> ops.Secret:
    """Have the application's secret of this label hold this; the leader alone may."""
    try:
        secret = model.get_secret(label=label)
        held = secret.get_content(refresh=True)
    except ops.SecretNotFoundError:
        return model.app.add_secret(content, label=label, description=description or None)
    if held != content:
        secret.set_content(content)
    return secret


def share(
    model: ops.Model, label: str, content: Content, told: Mapping[int, bool], endpoint: str
) -> str:
    """Put the content into the application's secret and grant it to other applications.

    `told` has the endpoint's relations by id, and whether they were granted it before. Returns
    the secret's id with this model's: in another model none is found without it, and in this one
    it is the same (juju core/secrets/uri.go, IsLocal). The leader alone may call it.
    """
    secret = put(model, label, content)
    for number, granted in told.items():
        relation = model.get_relation(endpoint, number)
        if relation is not None and not granted:
            secret.grant(relation)
    return f"secret://{model.uuid}/{id_of(secret).removeprefix('secret:')}"


def find(model: ops.Model, label: str) -> str:
    """Return the id of the application's secret; the leader alone. Raises UnavailableError."""
    try:
        return id_of(model.get_secret(label=label))
    except ops.ModelError:
        raise UnavailableError(label) from None


def id_of(secret: ops.Secret) -> str:
    """Return the id as people give it to `juju show-secret`, without the model's."""
    known = secret.id or secret.get_info().id
    return "secret:" + known.removeprefix("secret:").rpartition("/")[2]


def borrow(model: ops.Model, ids: Sequence[str]) -> dict[str, Content]:
    """Read the newest contents of other applications' secrets, those that can be read, by id."""
    found = {}
    for secret_id in ids:
        with contextlib.suppress(ops.ModelError):
            found[secret_id] = model.get_secret(id=secret_id).get_content(refresh=True)
    return found


def follow(secret: ops.Secret) -> None:
    """Take up the newest revision; one that was taken away meanwhile is somebody else's news."""
    try:
        secret.get_content(refresh=True)
    except ops.ModelError:
        return


def read_agent_password(model: ops.Model, secret_id: str | None) -> AgentPassword:
    """Read the operator's enrolment password, checked; an unset option gives an empty value."""
    found = read_option(model, secret_id, _checked)
    return AgentPassword(problem=found) if isinstance(found, str) else found or AgentPassword()


def read_option(
    model: ops.Model, secret_id: str | None, check: Callable[[Content], _Checked]
) -> _Checked | str | None:
    """Read the secret of an option, checked; a text says why it cannot be read, None: unset.

    What this unit already follows is read first, which costs one hook tool; a bad one is read
    again in its newest revision, since Juju tells nobody that a secret was granted.
    """
    if not secret_id:
        return None
    try:
        secret = model.get_secret(id=secret_id)
        found = check(secret.get_content())
        return check(secret.get_content(refresh=True)) if found.problem else found
    except ops.SecretNotFoundError:
        return "the secret does not exist or was removed"
    except ops.ModelError:
        return "the secret cannot be read; is it granted to this application?"


def _checked(content: Content) -> AgentPassword:
    if "password" not in content:
        return AgentPassword(problem='the secret has no key "password"')
    password = content["password"]
    problem = _password_problem(password)
    return AgentPassword(problem=problem) if problem else AgentPassword(password)


def _password_problem(password: str) -> str | None:
    """Tell why Wazuh's enrolment daemon would not take it; never the password itself.

    It reads one line of 4094 bytes at most and takes one of a single character for none
    (wazuh/src os_auth/main-server.c).
    """
    rules = (
        (not password, "the password is empty"),
        ("\0" in password, "the password has a NUL character"),
        ("\n" in password or "\r" in password, "the password has a line break"),
        (not password.isprintable(), "the password has a control character"),
        (password != password.strip(), "the password begins or ends with a space"),
        (len(password) < _SHORTEST_PASSWORD, "the password is shorter than 2 characters"),
        (
            len(password.encode(errors="replace")) > LONGEST_PASSWORD,
            f"the password is longer than {LONGEST_PASSWORD} bytes",
        ),
    )
    return next((reason for broken, reason in rules if broken), None)


_REQUIRED: dict[str, tuple[str, ...]] = {
    CLUSTER_KEY: ("key",),
    API_USERS: USERS,
    AUTHORITY: ("certificate", "private-key"),
    API_IDENTITY: ("jwt-private", "jwt-public", "certificate", "private-key"),
    PEER_IDENTITY: ("certificate", "private-key"),
    ENROLMENT: ("password",),
}


def _is_whole(label: str, contents: Contents) -> bool:
    return all(contents.get(label, {}).get(key) for key in _REQUIRED[label])


_Recipe = Callable[[Mapping[str, Content]], Content]


def _recipes(application: str, wishes: Wishes) -> dict[str, _Recipe]:
    """Say how each secret's content follows from those before it, in this order."""

    def ending(label: str, make: _Recipe) -> _Recipe:
        if label not in wishes.proven:
            return make
        return lambda found: make({**found, label: rotation.promote(found[label])})

    recipes: dict[str, _Recipe] = {
        CLUSTER_KEY: _cluster_key,
        API_USERS: _api_users,
        AUTHORITY: lambda found: _authority(found, application, wishes.now),
        API_IDENTITY: lambda found: _api_identity(found, wishes),
        PEER_IDENTITY: lambda found: _peer_identity(found, wishes.now),
        ENROLMENT: lambda found: _enrolment(found, wishes.agent_password),
        **{label: _as_given(label) for label in (*OPTIONAL_LABELS, *LEADERS_LABELS)},
    }
    return {label: ending(label, make) for label, make in recipes.items()}


def _as_given(label: str) -> _Recipe:
    return lambda found: found.get(label, {})


def _cluster_key(found: Contents) -> Content:
    """Make a key of 32 letters and digits, as wazuh/core/cluster/cluster.py wants it."""
    made = {"key": _random(32), "digest-key": _random(32)}
    return made | found.get(CLUSTER_KEY, {})


def _api_users(found: Contents) -> Content:
    present = found.get(API_USERS, {})
    return {name: _api_password() for name in USERS if name not in present} | present


def _api_password() -> str:
    """Make a password as wazuh/security.py wants it: lower, upper, digit and one other."""
    return f"{_random(28)}-aA1"


def _authority(found: Contents, application: str, now: datetime.datetime) -> Content:
    """Make the authority, and the next one in good time; the last one stays trusted to its end."""
    from src import certificates

    if not _is_whole(AUTHORITY, found):
        return _pair(certificates.make_authority(application, now))
    held = found[AUTHORITY]
    if now >= certificates.replace_authority_after(held["certificate"]):
        previous = {_PREVIOUS: held["certificate"]}
        return _pair(certificates.make_authority(application, now)) | previous
    if _PREVIOUS in held and certificates.has_ended(held[_PREVIOUS], now):
        return {key: value for key, value in held.items() if key != _PREVIOUS}
    return held


def trusted(authority: Content) -> str:
    """Return the certificates of all authorities that count, PEM."""
    found = (authority.get(key) for key in ("certificate", _PREVIOUS))
    return "\n".join(text for text in found if text)


def checked_by(contents: Contents, address: str) -> str:
    """Return the authorities by which who calls this address can check the certificate, PEM.

    Empty where the certificate does not hold for the address, or nobody told its authority.
    """
    from src import certificates

    identity = rotation.effective(contents.get(API_IDENTITY, {}))
    held = identity.get("certificate")
    if not held or address not in certificates.names(held):
        return ""
    if "request" in identity:
        return identity.get("authority", "")
    return trusted(contents.get(AUTHORITY, {}))


_FOREIGN = ("certificate", "private-key", "request", "renew-after", "expiry", "authority")
"""What another authority's certificate brings with it."""


def own_identity(content: Content) -> Content:
    """Return what is left of the API's identity without its certificate: ours is issued then.

    A rotation of the tokens that is under way goes on.
    """
    return {
        key: value
        for key, value in content.items()
        if key.removeprefix(rotation.NEXT) not in _FOREIGN
    }


def _api_identity(found: Contents, wishes: Wishes) -> Content:
    """Follow the certificate of another authority, or have one of our own; tokens are ours."""
    from src import certificates

    present = found.get(API_IDENTITY, {})
    if "request" in present:
        # Issued by another authority, which renews it: a rotation brings none of ours.
        coming = {f"{rotation.NEXT}{key}" for key in _FOREIGN}
        present = {key: value for key, value in present.items() if key not in coming}
    if "jwt-private" not in present:
        private, public = certificates.token_pair()
        present = {**present, "jwt-private": private.strip(), "jwt-public": public.strip()}
    rotates = rotation.is_under_way(present) and "certificate" in present
    if "request" in present or rotates:
        return present
    name = wishes.hosts[0]
    return _leaf(found, present, name, wishes.hosts, (certificates.SERVER,), wishes.now)


def _peer_identity(found: Contents, now: datetime.datetime) -> Content:
    from src import certificates

    usages = (certificates.SERVER, certificates.CLIENT)
    present = found.get(PEER_IDENTITY, {})
    return _leaf(found, present, PEER_HOST, (PEER_HOST,), usages, now)


def _leaf(
    found: Contents,
    present: Content,
    name: str,
    hosts: Sequence[str],
    usages: Sequence["x509.ObjectIdentifier"],
    now: datetime.datetime,
) -> Content:
    from src import certificates

    authority = authority_pair(found[AUTHORITY])
    held = present.get("certificate")
    if held and _serves(held, authority, hosts, now):
        return present
    return present | _pair(
        certificates.issue(authority, name, hosts=hosts, usages=usages, now=now)
    )


def _serves(
    held: str, authority: "certificates.Pair", hosts: Sequence[str], now: datetime.datetime
) -> bool:
    """Tell whether a certificate holds for these names and need not be renewed."""
    from src import certificates

    lasts = not certificates.can_renew(held, authority, now)
    return lasts and set(hosts) <= certificates.names(held)


def authority_pair(content: Content) -> "certificates.Pair":
    """Return the authority's certificate and key, to sign with."""
    from src import certificates

    return certificates.Pair(content["certificate"], content["private-key"])


def _enrolment(found: Contents, wanted: AgentPassword) -> Content:
    """Set the password in force and the generated one; a bad wish leaves what is in force.

    What the option gives ends a rotation: people who set it expect it to hold.
    """
    present = found.get(ENROLMENT, {})
    generated = present.get("generated") or _random(32)
    own = {"password": generated, "generated": generated}
    if wanted.value:
        return own | {"password": wanted.value}
    return own | present if wanted.problem or rotation.is_under_way(present) else own


def _pair(pair: "certificates.Pair") -> Content:
    return {
        "certificate": pair.certificate.strip(),
        "private-key": pair.private_key.strip(),
    }


def _random(length: int) -> str:
    return "".join(secrets.choice(_LETTERS_AND_DIGITS) for _ in range(length))


def _renew_after(contents: Contents) -> datetime.datetime:
    """Return when the first of the certificates is due to be renewed."""
    from src import certificates

    authority = certificates.replace_authority_after(contents[AUTHORITY]["certificate"])
    return min(authority, *(_renewal(contents[label]) for label in (API_IDENTITY, PEER_IDENTITY)))


def _renewal(content: Content) -> datetime.datetime:
    """Return when to renew a certificate; another authority's says so itself."""
    if "renew-after" in content:
        return datetime.datetime.fromisoformat(content["renew-after"])
    from src import certificates

    return certificates.renew_after(content["certificate"])
