"""What only Kubernetes' API can do for the application. Imported only when it is asked for.

A charm may read and patch its own application's Service without trust (Juju's role for a model
operator; seen on Juju 4.0.15). Juju rewrites the ports of the Service and leaves the rest.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpx
from lightkube import Client
from lightkube.core.exceptions import ApiError, ConfigError, LoadResourceError
from lightkube.models.core_v1 import ServiceStatus
from lightkube.resources.core_v1 import Service
from lightkube.resources.networking_v1 import NetworkPolicy
from lightkube.resources.policy_v1 import PodDisruptionBudget
from lightkube.types import PatchType

from src.cluster import Names
from src.exposure import CLUSTER_IP, LOAD_BALANCER, Exposure

OURS = "wazuh-server-operator/annotations"
"""The annotation that names those we made, so that they can be taken away again."""
_SECONDS = 2.5
_LONGEST_REASON = 200


class RefusedError(Exception):
    """Kubernetes did not do it; the text says what and why."""


def expose(names: Names, exposure: Exposure) -> str:
    """Make the application's Service what it is to be; return its address outside, if it has one.

    Nothing is written when it is so already. Each of two requests waits for 2.5 seconds at most.
    Raises RefusedError.
    """
    with _asking(f"the Service cannot be made {exposure.type}"):
        client = _client(names)
        found = client.get(Service, names.application)
        patch = _patch(found, exposure)
        if patch:
            found = client.patch(Service, names.application, patch, patch_type=PatchType.MERGE)
    return _address(found.status) if exposure.type == LOAD_BALANCER else ""


def harden(names: Names, objects: Sequence[Mapping[str, Any]], *, wanted: bool) -> None:
    """Bring the objects about, or take them away where they are not `wanted`.

    They belong to the application's Service, and so go with the application. A charm may make
    them with trust only. Each of three requests waits for 2.5 seconds at most. Raises
    RefusedError.
    """
    what = "a NetworkPolicy and a PodDisruptionBudget cannot be set"
    with _asking(what, trusted=names.application):
        client = _client(names)
        if not wanted:
            for content in objects:
                _delete(client, _GUARDS[content["kind"]], content["metadata"]["name"])
            return
        owner = client.get(Service, names.application).metadata
        for content in objects:
            owned = _owned(content, names.application, owner.uid if owner else None)
            client.apply(owned, field_manager=_MANAGER, force=True)


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
def _asking(what: str, *, trusted: str = "") -> Iterator[None]:
    """Say what was not done and why, whatever goes wrong. Raises RefusedError.

    `trusted` is the application, where the charm may do it with trust only.
    """
    try:
        yield
    except ApiError as error:
        code = error.status.code if error.status else None
        needs = f"; it needs juju trust {trusted} --scope=cluster" if trusted else ""
        lacks = needs if code == httpx.codes.FORBIDDEN else ""
        raise RefusedError(f"{what}: {code} {_reason(error)}{lacks}") from None
    except httpx.TimeoutException:
        raise RefusedError(f"{what}: Kubernetes does not answer") from None
    except (ConfigError, LoadResourceError, httpx.HTTPError, OSError, ValueError) as error:
        raise RefusedError(f"{what}: {type(error).__name__}") from None


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
    """Return the first address of the load balancer; empty while it has none."""
    balancer = status.loadBalancer if status else None
    for point in (balancer.ingress if balancer else None) or ():
        if point.hostname or point.ip:
            return str(point.hostname or point.ip)
    return ""
