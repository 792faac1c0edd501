"""From what is known to every file of the workload and its Pebble layer. Pure.

The table of owners and modes, and the names of everything that is pushed, stand here alone.
"""

import dataclasses
import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from src import cluster, digests, filebeat
from src.cluster import Role

if TYPE_CHECKING:
    import jinja2

    from src.options import Options
    from src.origin import Origin
    from src.repository import Source
    from src.secrets import Indexer, Vault

SCHEMA = 1
ROOT = "/etc/wazuh-server"
RUN = "/run/wazuh-server"
DESIRED = f"{ROOT}/desired.json"
APPLIED = f"{ROOT}/applied.json"
LEAVING = f"{ROOT}/leaving"
"""Tells the supervisor that this unit is being removed, and its volume with it."""
MASTER_STATE = f"{ROOT}/master-state.json"
REPOSITORY = f"{ROOT}/repository.json"
DEPLOY_KEY = f"{ROOT}/repository.key"
KNOWN_HOSTS = f"{ROOT}/repository.known_hosts"
OPENCTI = f"{ROOT}/opencti.json"
"""What the integration reads (rock/opencti): as an `<api_key>` the token would be an argument."""
PORTS = (1514, 1515, 6514, 55000)
SENDERS_PORT = 6514
SENDERS_LOGS = "/var/ossec/logs/senders"
SENDERS_READ = f"{SENDERS_LOGS}/_all/*.log"
"""The files of all senders, which are there before their day: Wazuh passes over what a file
already holds when it first finds it. The files of one sender each are for people."""
LAYER = "wazuh-server"
FILEBEAT = "filebeat"

DIRECTORIES = {
    ROOT: 0o711,
    f"{ROOT}/filebeat": 0o711,
    f"{ROOT}/files": 0o700,
    f"{ROOT}/peer": 0o700,
    f"{ROOT}/rsyslog": 0o700,
    RUN: 0o755,
}
"""The folders made before any push, with their modes. Other users have to pass the topmost two;
rsyslog ends when there is no folder for its pid file."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Who a file belongs to and who may use it."""

    user: str
    group: str
    mode: int


_ROLES = {"wazuh-charm": [1], "wazuh-dashboard": [2]}
"""Wazuh's numbers: 1 is `administrator`, 2 `readonly`."""

_ROOT_ONLY = Owner("root", "root", 0o600)
_WAZUH_READS = Owner("root", "wazuh", 0o640)
_WAZUH_KEY = Owner("wazuh", "wazuh", 0o400)
_WAZUH_OWNS = Owner("wazuh", "wazuh", 0o640)
_FILEBEAT_READS = Owner("filebeat", "wazuh", 0o400)
"""Filebeat refuses a configuration that is another user's than its own or root's."""

INSTALLED = {
    "etc/ossec.conf": _WAZUH_READS,
    "etc/local_internal_options.conf": _WAZUH_READS,
    "etc/authd.pass": _WAZUH_READS,
    "etc/indexer-ca.pem": _WAZUH_READS,
    "etc/sslmanager.cert": _WAZUH_READS,
    "etc/sslmanager.key": _WAZUH_READS,
    "api/configuration/api.yaml": _WAZUH_READS,
    "api/configuration/ssl/server.crt": _WAZUH_KEY,
    "api/configuration/ssl/server.key": _WAZUH_KEY,
    "api/configuration/security/private_key.pem": _WAZUH_OWNS,
    "api/configuration/security/public_key.pem": _WAZUH_OWNS,
}
"""Files the supervisor installs below /var/ossec, as they are to be there."""

_DEBUGGED = (
    "analysisd",
    "authd",
    "execd",
    "integrator",
    "logcollector",
    "monitord",
    "remoted",
    "syscheck",
    "wazuh_clusterd",
    "wazuh_db",
    "wazuh_modules",
)
"""Who has an option `….debug` (etc/internal_options.conf)."""

_LOOKED_UP = (
    "attack",
    "authentication_failures",
    "authentication_success",
    "exploit_attempt",
    "ids",
    "multiple_drops",
    "osquery",
    "recon",
    "syscheck",
    "sysmon",
    "virus",
    "web_scan",
)
"""Groups of rules whose alerts are looked up in OpenCTI: those that name something from outside,
but for those that a guessed password or a dropped packet raises: each call costs a process."""

_MAIL = {"email_to", "email_from", "email_smtp_server"}
_READ_BY = {
    "wazuh-analysisd": {"log_alert_level", "email_alert_level", *_MAIL},
    "wazuh-authd": {
        "agent_force",
        "agent_force_disconnected_time",
        "agent_force_after_registration_time",
    },
    "wazuh-csyslogd": {"syslog_output"},
    "wazuh-maild": _MAIL,
    "wazuh-modulesd": {"vulnerability_detection", "vulnerability_feed_url"},
    "wazuh-monitord": _MAIL,
}
"""Which daemons read which options at their start (src/config/config.c)."""

_OWNERS = {
    **{f"{ROOT}/files/{path}": owner for path, owner in INSTALLED.items()},
    f"{ROOT}/users.json": _ROOT_ONLY,
    f"{ROOT}/indexer.json": _ROOT_ONLY,
    f"{ROOT}/filebeat/ca.crt": _FILEBEAT_READS,
    f"{ROOT}/filebeat/filebeat.yml": _FILEBEAT_READS,
    f"{ROOT}/peer/ca.crt": _ROOT_ONLY,
    f"{ROOT}/peer/peer.crt": _ROOT_ONLY,
    f"{ROOT}/peer/peer.key": _ROOT_ONLY,
    f"{ROOT}/rsyslog/rsyslog.conf": _ROOT_ONLY,
    f"{ROOT}/rsyslog/ca.crt": _ROOT_ONLY,
    f"{ROOT}/rsyslog/server.pem": _ROOT_ONLY,
    REPOSITORY: Owner("root", "wazuh-git", 0o640),
    # ssh refuses a key that is its user's own and that others may read.
    DEPLOY_KEY: Owner("wazuh-git", "wazuh-git", 0o400),
    KNOWN_HOSTS: Owner("root", "wazuh-git", 0o640),
    OPENCTI: _WAZUH_READS,
    DESIRED: _ROOT_ONLY,
    APPLIED: _ROOT_ONLY,
    LEAVING: _ROOT_ONLY,
    MASTER_STATE: _ROOT_ONLY,
}


@dataclass(frozen=True, slots=True)
class File:
    """One file of the workload; its content may be secret and is never shown."""

    path: str
    content: str

    def __repr__(self) -> str:
        return f"File({self.path!r})"

    @property
    def owner(self) -> Owner:
        """Owner and mode, from the table."""
        return _OWNERS[self.path]

    @property
    def digest(self) -> str:
        """The SHA-256 of the content."""
        return digests.plain(self.content.encode())


@dataclass(frozen=True, slots=True)
class Spec:
    """All that the files follow from, besides the content of the secrets."""

    unit: str
    names: cluster.Names
    decision: cluster.Decision
    options: tuple[str, ...] = ()
    """The options' texts as people wrote them, good or bad."""
    request: str = ""
    """A digest that tells one wish for a configuration repository from another."""
    serve: Mapping[str, str | None] | None = None
    """What the supervisor is told of the repository's rules: nothing to change, or the commit to
    serve (None: take away what was served)."""
    wake: int = 0
    settings: "Options | None" = None
    """The small options' checked values; the defaults where there are none."""
    authorities: str = ""
    """Whose certificates syslog senders come with, PEM; empty for our own authority."""

    @property
    def role(self) -> Role:
        """The role of this unit."""
        return self.decision.role(self.unit)

    def inputs(self, key: str, secrets_digest: str) -> str:
        """Return a keyed digest of everything that is rendered: equal means nothing to do."""
        return digests.keyed(
            key,
            (
                fingerprint(),
                secrets_digest,
                self.unit,
                (self.names.application, self.names.model),
                dataclasses.astuple(dataclasses.replace(self.decision, decided_by="")),
                self.options,
                (self.request, self.serve, self.wake),
            ),
        )


@dataclass(frozen=True, slots=True)
class Rendered:
    """What the container is to hold, in the order in which it is to be pushed."""

    files: tuple[File, ...]
    layer: Mapping[str, Mapping]
    inputs: str

    def digests(self) -> dict[str, str]:
        """Return the digest of each file by its path."""
        return {file.path: file.digest for file in self.files}


@dataclass(frozen=True, slots=True)
class Fetch:
    """The configuration repository that this unit is to fetch, and what is needed for it."""

    source: "Source"
    origin: "Origin" = field(repr=False)


def render(spec: Spec, vault: "Vault", fetch: Fetch | None = None) -> Rendered:
    """Render every file and the layer; `desired.json` comes last: it makes the others count."""
    installed = _installed(spec, vault)
    files = [
        *(File(f"{ROOT}/files/{path}", content) for path, content in installed.items()),
        File(f"{ROOT}/users.json", _users(vault)),
        File(f"{ROOT}/peer/ca.crt", _pem(vault.authority)),
        File(f"{ROOT}/peer/peer.crt", _pem(vault.peer.certificate)),
        File(f"{ROOT}/peer/peer.key", _pem(vault.peer.private_key)),
        *_rsyslog(spec, vault),
        *_indexer(vault),
        *_opencti(vault),
        *_repository(fetch, spec.request),
    ]
    inputs = spec.inputs(vault.digest_key, vault.digest)
    files.append(File(DESIRED, _desired(spec, vault, installed, inputs)))
    return Rendered(tuple(files), _layer(spec, vault, fetch), inputs)


@functools.cache
def fingerprint() -> str:
    """Digest the charm's own code and templates, since another charm may render otherwise."""
    root = _charm_root()
    paths = sorted([*(root / "src").rglob("*.py"), *(root / "templates").glob("*.j2")])
    return digests.plain(b"\0".join(path.read_bytes() for path in paths))


def _charm_root() -> Path:
    return Path(__file__).resolve().parent.parent


def _installed(spec: Spec, vault: "Vault") -> dict[str, str]:
    """Render the files that the supervisor puts below /var/ossec, by their path there."""
    indexer, master = vault.indexer, _master_address(spec)
    looks_up = vault.opencti is not None
    return {
        "etc/ossec.conf": _ossec_conf(spec, vault.cluster_key, master, indexer, looks_up=looks_up),
        **({"etc/indexer-ca.pem": _pem(indexer.authority)} if indexer else {}),
        "etc/local_internal_options.conf": _internal_options(settings(spec).debug),
        "etc/authd.pass": f"{vault.enrolment}\n",
        "etc/sslmanager.cert": _pem(vault.api.certificate),
        "etc/sslmanager.key": _pem(vault.api.private_key),
        "api/configuration/api.yaml": _template("api.yaml.j2"),
        "api/configuration/ssl/server.crt": _pem(vault.api.certificate),
        "api/configuration/ssl/server.key": _pem(vault.api.private_key),
        "api/configuration/security/private_key.pem": _pem(vault.token_private),
        "api/configuration/security/public_key.pem": _pem(vault.token_public),
    }


def _master_address(spec: Spec) -> str:
    return spec.names.address(spec.decision.master)


def settings(spec: Spec) -> "Options":
    """Return the small options' values."""
    from src.options import Options

    return spec.settings or Options()


def _internal_options(debug: int) -> str:
    lines = "".join(f"{module}.debug={debug}\n" for module in _DEBUGGED) if debug else ""
    return f"# Written by the charm; changes made here are lost.\n{lines}"


def _ossec_conf(
    spec: Spec,
    cluster_key: str,
    master_address: str,
    indexer: "Indexer | None" = None,
    *,
    looks_up: bool = False,
) -> str:
    return _template(
        "ossec.conf.j2",
        node_name=cluster.node_name(spec.unit),
        node_type=spec.role.value,
        cluster_key=cluster_key,
        master_address=master_address,
        senders=SENDERS_READ,
        options=settings(spec),
        indexers=indexer.hosts if indexer else (),
        looked_up=_LOOKED_UP if looks_up else (),
    )


def _users(vault: "Vault") -> str:
    """List the API users with the roles that Wazuh has not given them already."""
    users = {
        name: {"password": password} | ({"roles": _ROLES[name]} if name in _ROLES else {})
        for name, password in vault.users
    }
    return _json(users)


def _rsyslog(spec: Spec, vault: "Vault") -> tuple[File, ...]:
    """Render the receiver's files.

    It reads certificate and key anew for each connection (rsyslog runtime/nsd_gtls.c), so they
    are one file, which is replaced at once and needs no restart; it comes last.
    """
    folder = f"{ROOT}/rsyslog"
    return (
        File(
            f"{folder}/rsyslog.conf",
            _template("rsyslog.conf.j2", folder=folder, port=SENDERS_PORT, logs=SENDERS_LOGS),
        ),
        File(f"{folder}/ca.crt", _pem(spec.authorities or vault.authority)),
        File(f"{folder}/server.pem", _pem(vault.api.certificate) + _pem(vault.api.private_key)),
    )


def _indexer(vault: "Vault") -> tuple[File, ...]:
    """Render what sends alerts and states to the indexer, with its password."""
    if vault.indexer is None:
        return ()
    found, folder = vault.indexer, f"{ROOT}/filebeat"
    told = {"hosts": found.hosts, "username": found.username, "password": found.password}
    return (
        File(f"{ROOT}/indexer.json", _json({**told, "authority": _pem(found.authority)})),
        File(f"{folder}/ca.crt", _pem(found.authority)),
        File(f"{folder}/filebeat.yml", filebeat.configuration(found, f"{folder}/ca.crt")),
    )


def _opencti(vault: "Vault") -> tuple[File, ...]:
    """Render what the integration that looks alerts up reads at each call."""
    found = vault.opencti
    return (File(OPENCTI, _json(dataclasses.asdict(found))),) if found else ()


def _repository(fetch: Fetch | None, request: str) -> tuple[File, ...]:
    if fetch is None:
        return ()
    source, origin = fetch.source, fetch.origin
    proxies = {
        "http_proxy": origin.proxies.http,
        "https_proxy": origin.proxies.https,
        "no_proxy": origin.proxies.no_proxy,
    }
    content = {
        "url": source.url,
        "ref": source.ref,
        "subdirectory": source.subdirectory,
        "request": request,
        "proxies": {name: value for name, value in proxies.items() if value},
    }
    found = (File(REPOSITORY, _json(content)),)
    if source.scheme != "ssh":
        return found
    hosts, key = f"{origin.known_hosts}\n", origin.key.value or ""
    return (*found, File(DEPLOY_KEY, key), File(KNOWN_HOSTS, hosts))


def _desired(spec: Spec, vault: "Vault", installed: Mapping[str, str], inputs: str) -> str:
    return _json(
        {
            "schema": SCHEMA,
            "inputs": inputs,
            "epoch": spec.decision.epoch,
            "role": spec.role.value,
            "node": cluster.node_name(spec.unit),
            "master": cluster.node_name(spec.decision.master),
            "endpoints": spec.names.endpoints,
            "enrolment": True,
            "high-water": spec.decision.high_water,
            "regardless": spec.decision.regardless,
            "wake": spec.wake,
            "files": {path: _entry(path, content) for path, content in installed.items()},
            "generations": generations(vault, settings(spec)),
            "ruleset": spec.serve,
        }
    )


def _entry(path: str, content: str) -> dict[str, str]:
    owner = INSTALLED[path]
    return {
        "sha256": digests.plain(content.encode()),
        "owner": owner.user,
        "group": owner.group,
        "mode": f"{owner.mode:04o}",
    }


def generations(vault: "Vault", options: "Options") -> dict[str, str]:
    """Digest the part of each daemon that has to be restarted alone when its own part changes.

    The cluster daemon's other part, the master's address, is the supervisor's: it may hear of a
    new master first.
    """
    identity = [vault.api.certificate, vault.api.private_key]
    tokens = [vault.token_private, vault.token_public]
    parts: dict[str, list] = {
        "wazuh-clusterd": [vault.cluster_key],
        "wazuh-authd": [vault.enrolment, *identity],
        "wazuh-apid": [_template("api.yaml.j2"), *identity, *tokens],
        "wazuh-modulesd": [],
        "users": [list(pair) for pair in vault.users],
    }
    if vault.indexer is not None:
        parts["indexer"] = list(dataclasses.astuple(vault.indexer))
        parts["wazuh-modulesd"].append(parts["indexer"])
    if vault.opencti is not None:
        # Address and token are read at each call: only the block in ossec.conf needs a start.
        parts["wazuh-integratord"] = [_LOOKED_UP]
    for daemon, names in _READ_BY.items():
        values = options.model_dump(mode="json", include=names, exclude_defaults=True)
        parts.setdefault(daemon, []).extend([values] if values else [])
    return {name: digests.keyed(vault.digest_key, part) for name, part in parts.items()}


def _layer(spec: Spec, vault: "Vault", fetch: Fetch | None) -> dict[str, Mapping]:
    services = {"wazuh": _wazuh_service(spec, vault), "rsyslog": _rsyslog_service(spec, vault)}
    if vault.indexer is not None:
        services[FILEBEAT] = _filebeat_service(vault)
    if fetch is not None:
        services["repository"] = _REPOSITORY_SERVICE
    return {"services": services, "checks": {"ready": _READY}}


def _wazuh_service(spec: Spec, vault: "Vault") -> dict:
    """Describe the supervisor; its environment holds what needs all daemons restarted.

    The master's address, the key and most options are left out of the digest: they need one
    daemon only.
    """
    debug = settings(spec).debug
    plain = dataclasses.replace(spec, settings=None)
    configuration = _ossec_conf(plain, cluster_key="", master_address="")
    return {
        "override": "replace",
        "summary": "Wazuh and its supervisor",
        "command": "/opt/wazuh-server/bin/supervisor",
        "startup": "enabled",
        "on-failure": "restart",
        "kill-delay": "25s",
        "environment": {
            "WAZUH_NODE_TYPE": spec.role.value,
            "WAZUH_NODE_NAME": cluster.node_name(spec.unit),
            "WAZUH_CONFIGURATION": digests.keyed(vault.digest_key, [configuration, debug]),
        },
    }


def _rsyslog_service(spec: Spec, vault: "Vault") -> dict:
    """Describe the receiver; other authorities restart it, so that nobody stays of those gone."""
    *contents, _ = [file.content for file in _rsyslog(spec, vault)]
    return {
        "override": "replace",
        "summary": "syslog over TLS on port 6514",
        "command": (f"/usr/sbin/rsyslogd -n -f {ROOT}/rsyslog/rsyslog.conf -i {RUN}/rsyslogd.pid"),
        "startup": "enabled",
        "environment": {"RSYSLOG_CONFIGURATION": digests.keyed(vault.digest_key, contents)},
    }


def _filebeat_service(vault: "Vault") -> dict:
    """Describe what sends alerts; another indexer, or another password, restarts it."""
    contents = [file.content for file in _indexer(vault)]
    return {
        "override": "replace",
        "summary": "alerts to the indexer",
        "command": "/opt/wazuh-server/bin/filebeat",
        "startup": "enabled",
        "user": "filebeat",
        "group": "wazuh",
        "environment": {"FILEBEAT_CONFIGURATION": digests.keyed(vault.digest_key, contents)},
    }


def without_indexer(
    layer: Mapping[str, Mapping], plan: Mapping[str, Mapping]
) -> Mapping[str, Mapping]:
    """Return the layer such that nothing is sent any more where Pebble's plan has it sent.

    No layer takes a service away from a plan, and a replan starts again what it stops.
    """
    if FILEBEAT not in plan.get("services", {}) or FILEBEAT in layer["services"]:
        return layer
    return {**layer, "services": {**layer["services"], FILEBEAT: _NOTHING_TO_SEND}}


_NOTHING_TO_SEND = {
    "override": "replace",
    "summary": "no indexer is related",
    "command": "/bin/sleep 2",
    "startup": "disabled",
    "on-success": "ignore",
    "on-failure": "ignore",
}

_REPOSITORY_SERVICE = {
    "override": "replace",
    "summary": "fetches rules, decoders and lists from the configuration repository",
    "command": "/opt/wazuh-server/bin/fetch-repository",
    "startup": "disabled",
    "user": "wazuh-git",
    "group": "wazuh-git",
    "on-success": "ignore",
    "on-failure": "ignore",
}

_READY = {
    "override": "replace",
    "level": "ready",
    "period": "2s",
    "timeout": "1s",
    "threshold": 2,
    "http": {"url": "http://127.0.0.1:8515/ready"},
}


def _pem(text: str) -> str:
    return f"{text.strip()}\n"


def _json(value: object) -> str:
    return json.dumps(value, indent=1, sort_keys=True) + "\n"


def _template(name: str, **values: "str | int | tuple[str, ...] | Options") -> str:
    return _templates(_charm_root() / "templates").get_template(name).render(**values)


@functools.cache
def _templates(folder: Path) -> "jinja2.Environment":
    """Give the templates, each of which is compiled once."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
