"""What only Kubernetes' API can do for the application. Imported only when it is asked for.

A charm may read and patch its own application's Service without trust (Juju's role for a model
operator; seen on Juju 4.0.15). Juju rewrites the ports of the Service and leaves the rest.
"""

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from lightkube import Client
from lightkube.core.exceptions import ApiError, ConfigError, LoadResourceError
from lightkube.models.core_v1 import ServiceStatus
from lightkube.resources.core_v1 import Pod, Service
from lightkube.resources.networking_v1 import NetworkPolicy
from lightkube.resources.policy_v1 import PodDisruptionBudget
from lightkube.types import PatchType

from src.cluster import Names
from src.exposure import CLUSTER_IP, LOAD_BALANCER, NODE_PORT, Exposure
from src.hosts import is_host

OURS = "wazuh-server-operator/annotations"
"""The annotation that names those we made, so that they can be taken away again."""
_SECONDS = 2.5
for _name in ("httpcore", "httpx"):
    # Each line of a log is a hook tool, and these write some twenty for a request.
    logging.getLogger(_name).setLevel(logging.WARNING)
_LONGEST_REASON = 200


class RefusedError(Exception):
    """Kubernetes did not do it; the text says what and why."""


class PartlyError(RefusedError):
    """It was not done, but some of it may have been."""


class UnseenError(RefusedError):
    """Kubernetes did not tell what is there, so nothing was tried."""


@dataclass(frozen=True, slots=True)
class Reached:
    """Where the Service is reached from outside the cluster."""

    address: str = ""
    """A load balancer's, or a node's; empty when there is none."""
    ports: Mapping[str, int] = field(default_factory=dict)
    """The nodes' ports by those they lead to, when it is a node that is reached."""


def expose(names: Names, exposure: Exposure, known: str = "") -> Reached:
    """Make the application's Service what it is to be; return where it is reached.

    Nothing is written when it is so already. Of several nodes the `known` one is kept. Each of
    three requests waits for 2.5 seconds at most. Raises RefusedError and UnseenError.
    """
    what = f"the Service cannot be made {exposure.type}"
    with _asking(what, UnseenError, UnseenError):
        client = _client(names)
        found = client.get(Service, names.application)
    with _asking(what):
        patch = _patch(found, exposure)
        if patch:
            found = client.patch(Service, names.application, patch, patch_type=PatchType.MERGE)
    if exposure.type == NODE_PORT:
        return Reached(_node(client, names, known), _node_ports(found))
    return Reached(_address(found.status) if exposure.type == LOAD_BALANCER else "")


def harden(names: Names, objects: Sequence[Mapping[str, Any]], *, wanted: bool) -> None:
    """Bring the objects about, or take them away where they are not `wanted`.

    They belong to the application's Service, and so go with the application. A charm may make
    them with trust only. Each of three requests waits for 2.5 seconds at most. Raises
    RefusedError, and PartlyError where some may have been made.
    """
    what, trusted = "a NetworkPolicy and a PodDisruptionBudget cannot be set", names.application
    with _asking(what, trusted=trusted):
        client = _client(names)
        if not wanted:
            for content in objects:
                _delete(client, _GUARDS[content["kind"]], content["metadata"]["name"])
            return
        owner = client.get(Service, names.application).metadata
    refused: type[RefusedError] = RefusedError
    for content in objects:
        with _asking(what, refused, PartlyError, trusted=trusted):
            owned = _owned(content, names.application, owner.uid if owner else None)
            client.apply(owned, field_manager=_MANAGER, force=True)
        refused = PartlyError


def _owned(
    content: Mapping[str, Any], service: str, uid: str | None
) -> NetworkPolicy | PodDisruptionBudget:
    """Make the object the Service's, with which Kubernetes takes it away."""
    owner = {"apiVersion": "v1", "kind": "Service", "name": service, "uid": uid}
    metadata = {**content["metadata"], "ownerReferences": [owner] if uid else []}
    return _GUARDS[content["kind"]].from_dict({**content, "metadata": metadata})


_MANAGER = "wazuh-server-operator"
_GUARDS: Mapping[str, type[NetworkPolicy] | type[PodDisruptionBudget]] = {
    "NetworkPolicy": NetworkPolicy,
    "PodDisruptionBudget": PodDisruptionBudget,
}


def _delete(
    client: Client, kind: type[NetworkPolicy] | type[PodDisruptionBudget], name: str
) -> None:
    """Delete one object; one that is gone is right already."""
    try:
        client.delete(kind, name)
    except ApiError as error:
        if error.status is None or error.status.code != httpx.codes.NOT_FOUND:
            raise


def _client(names: Names) -> Client:
    return Client(namespace=names.model, timeout=httpx.Timeout(_SECONDS))


@contextlib.contextmanager
def _asking(
    what: str,
    refused: type[RefusedError] = RefusedError,
    unanswered: type[RefusedError] = RefusedError,
    *,
    trusted: str = "",
) -> Iterator[None]:
    """Say what was not done and why, whatever goes wrong. Raises one of two kinds of errors.

    `unanswered` is for what may have been done all the same.
    `trusted` is the application, where the charm may do it with trust only.
    """
    try:
        yield
    except ApiError as error:
        code = error.status.code if error.status else None
        needs = f"; it needs juju trust {trusted} --scope=cluster" if trusted else ""
        lacks = needs if code == httpx.codes.FORBIDDEN else ""
        raise refused(f"{what}: {code} {_reason(error)}{lacks}") from None
    except httpx.TimeoutException:
        raise unanswered(f"{what}: Kubernetes does not answer") from None
    except (ConfigError, LoadResourceError, httpx.HTTPError, OSError, ValueError) as error:
        raise unanswered(f"{what}: {type(error).__name__}") from None


def _patch(found: Service, exposure: Exposure) -> dict:
    """Return what differs, as a JSON merge patch: null takes a key away."""
    spec = found.spec
    held = (found.metadata.annotations if found.metadata else None) or {}
    annotations = _annotations(held, exposure)
    external = exposure.type != CLUSTER_IP
    wanted: dict = {"type": exposure.type}
    wanted["externalTrafficPolicy"] = exposure.policy if external else None
    wanted["loadBalancerSourceRanges"] = list(exposure.ranges) or None
    present = {key: getattr(spec, key, None) or None for key in wanted}
    changed = {key: value for key, value in wanted.items() if present[key] != value}
    return {
        **({"metadata": {"annotations": annotations}} if annotations else {}),
        **({"spec": changed} if changed else {}),
    }


def _annotations(held: dict[str, str], exposure: Exposure) -> dict[str, str | None]:
    """Return the annotations to change, ours alone: others stay as they are."""
    before = _names(held.get(OURS, ""))
    gone = dict.fromkeys(before - set(exposure.annotations))
    mark = json.dumps(sorted(exposure.annotations)) if exposure.annotations else None
    wanted = {**gone, **exposure.annotations, OURS: mark}
    return {key: value for key, value in wanted.items() if held.get(key) != value}


def _names(text: str) -> set[str]:
    try:
        found = json.loads(text or "[]")
    except ValueError:
        return set()
    return {name for name in found if isinstance(name, str)} if isinstance(found, list) else set()


def _reason(error: ApiError) -> str:
    text = " ".join((error.status.message or "" if error.status else "").split())
    return "".join(letter for letter in text if letter.isprintable())[:_LONGEST_REASON]


def _address(status: ServiceStatus | None) -> str:
    """Return the first address of the load balancer; empty while it has none.

    It goes into a certificate and a command that people copy: so nothing else is taken.
    """
    balancer = status.loadBalancer if status else None
    for point in (balancer.ingress if balancer else None) or ():
        if is_host(address := str(point.hostname or point.ip or "")):
            return address
    return ""


def _node(client: Client, names: Names, known: str) -> str:
    """Return the address of a node with one of our pods, the known one if it still has one.

    A charm may read the pods of its model without trust. Where it may not: empty, for all nodes
    lead to the Service.
    """
    try:
        pods = client.list(Pod, labels={"app.kubernetes.io/name": names.application})
        found = {str(pod.status.hostIP) for pod in pods if pod.status}
    except httpx.HTTPError:
        return ""
    return known if known in found else min(filter(is_host, found), default="")


def _node_ports(service: Service) -> dict[str, int]:
    ports = (service.spec.ports if service.spec else None) or ()
    return {str(one.port): one.nodePort for one in ports if one.nodePort}
