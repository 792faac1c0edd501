"""Everything Juju says to this unit, as one frozen value. Reads only, never writes."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import ops

from src import cluster, exposure, hardening, rotation, secrets
from src.deploy_key import DeployKey, parse_key
from src.origin import KNOWN_HOSTS, REPOSITORY, SSH_KEY, Origin, proxies

PEERS = "wazuh-peers"
SETTINGS = (
    "log-level",
    "log-alert-level",
    "email-to",
    "email-from",
    "email-smtp-server",
    "email-alert-level",
    "syslog-output",
    "agent-force",
    "agent-force-disconnected-time",
    "agent-force-after-registration-time",
    "vulnerability-detection",
    "vulnerability-feed-url",
)
"""The options that `src/options.py` checks, which costs an import."""
SECRETS_DIGEST = "secrets"
SERVICE = "service"
HARDENED = "hardened"
ENROLMENT_OPTION = "agent-password"
ROTATION_OPTION = "secret-rotation"
AUTHORITIES = "logs-ca-cert"


@dataclass(frozen=True, slots=True)
class Peers:
    """What the leader published to all units; the empty value stands for no relation yet."""

    related: bool = False
    decision: cluster.Decision | None = None
    secrets_digest: str = ""
    service: str = ""
    """What the leader last made of the Service; empty for what Juju makes it."""
    hardened: str = ""
    """What guards it in Kubernetes; empty for nothing."""
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class State:
    """What Juju says at the beginning of a hook."""

    unit: str
    names: cluster.Names
    leader: bool
    peers: Peers
    origin: Origin
    """What is said of the configuration repository."""
    settings: Mapping[str, str | int | float | bool]
    """The small options as people set them, good or bad."""
    password_option: str
    """The id of the secret of the option `agent-password`; empty when it is not set."""
    agent_password: secrets.AgentPassword
    rotation: str
    """The text of the option `secret-rotation`, which may be none that Juju knows."""
    authorities: str
    """The text of the option `logs-ca-cert`; empty when it is not set."""
    exposure: Mapping[str, str]
    """The texts of the options about the Service, those that are set."""
    harden: bool
    """The option `harden-network`."""
    digest_key: str | None = field(repr=False)
    """The key of keyed digests; None until the leader has made it."""

    @property
    def may_publish(self) -> bool:
        """Whether this unit is the one that tells the others, and understands what was told."""
        return self.leader and self.peers.related and not self.peers.problem

    def missing(self) -> str | None:
        """Give the first reason why this unit cannot be configured, or None."""
        if not self.peers.related:
            return f"waiting for the peer relation {PEERS}"
        if self.peers.problem:
            return f"{PEERS}: {self.peers.problem}"
        if self.peers.decision is None:
            return "waiting for the leader to name a master"
        if self.digest_key is None:
            return f"waiting for the leader to make the secret {secrets.CLUSTER_KEY}"
        return None


def load(model: ops.Model) -> State:
    """Read options, leadership, the peers' data and the secrets that a quiet hook needs."""
    peers = _load_peers(model)
    password_option = str(model.config.get(ENROLMENT_OPTION, ""))
    return State(
        unit=model.unit.name,
        names=cluster.Names(model.app.name, model.name),
        leader=model.unit.is_leader(),
        peers=peers,
        origin=_origin(model),
        settings={name: model.config[name] for name in SETTINGS if name in model.config},
        password_option=password_option,
        agent_password=secrets.read_agent_password(model, password_option),
        rotation=str(model.config.get(ROTATION_OPTION, rotation.NEVER)).strip(),
        authorities=str(model.config.get(AUTHORITIES, "")).strip(),
        exposure={
            name: str(model.config[name]) for name in exposure.OPTIONS if model.config.get(name)
        },
        harden=model.config.get(hardening.OPTION) is True,
        digest_key=_digest_key(model, peers),
    )


def _origin(model: ops.Model) -> Origin:
    """Read what concerns the configuration repository; the secret only when there is one."""
    address = str(model.config.get(REPOSITORY, "")).strip()
    if not address:
        return Origin()
    key_option = str(model.config.get(SSH_KEY, ""))
    return Origin(
        address=address,
        known_hosts=str(model.config.get(KNOWN_HOSTS, "")).strip(),
        key_option=key_option,
        key=_deploy_key(model, key_option),
        proxies=proxies(),
    )


def _deploy_key(model: ops.Model, secret_id: str) -> DeployKey:
    found = secrets.read_option(model, secret_id, parse_key)
    return DeployKey(problem=found) if isinstance(found, str) else found or DeployKey()


def _load_peers(model: ops.Model) -> Peers:
    relation = model.get_relation(PEERS)
    if relation is None:
        return Peers()
    return parse_peers(relation.data[model.app])


def parse_peers(databag: Mapping[str, str]) -> Peers:
    """Read the application's side of the peer relation; what cannot be read is a problem."""
    digest, service = databag.get(SECRETS_DIGEST, ""), databag.get(SERVICE, "")
    try:
        decision = cluster.parse(databag)
        hardened = databag.get(HARDENED, "")
        return Peers(True, decision, digest, service, hardened)
    except cluster.UnreadableError as error:
        return Peers(related=True, problem=str(error))


def dump_peers(
    decision: cluster.Decision, secrets_digest: str, marked: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Write the application's side of the peer relation; marks that are not given stay."""
    marked = dict(marked or {})
    return decision.dump() | {SECRETS_DIGEST: secrets_digest} | marked


def _digest_key(model: ops.Model, peers: Peers) -> str | None:
    """Read the key, unless nothing was ever published: then there is none to look for."""
    if peers.decision is None:
        return None
    try:
        content = secrets.read(model, secrets.CLUSTER_KEY, refresh=False)
    except secrets.UnavailableError:
        return None
    return secrets.digest_key(content) if content and content.get("key") else None
