"""What only Kubernetes' API can do for the application. Imported only when it is asked for.

A charm may read and patch its own application's Service without trust (Juju's role for a model
operator; seen on Juju 4.0.15). Juju rewrites the ports of the Service and leaves the rest.
"""

import json

import httpx
from lightkube import Client
from lightkube.core.exceptions import ApiError, ConfigError, LoadResourceError
from lightkube.models.core_v1 import ServiceStatus
from lightkube.resources.core_v1 import Service
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
    what = f"the Service cannot be made {exposure.type}"
    try:
        client = Client(namespace=names.model, timeout=httpx.Timeout(_SECONDS))
        found = client.get(Service, names.application)
        patch = _patch(found, exposure)
        if patch:
            found = client.patch(Service, names.application, patch, patch_type=PatchType.MERGE)
    except ApiError as error:
        code = error.status.code if error.status else None
        raise RefusedError(f"{what}: {code} {_reason(error)}") from None
    except httpx.TimeoutException:
        raise RefusedError(f"{what}: Kubernetes does not answer") from None
    except (ConfigError, LoadResourceError, httpx.HTTPError, OSError, ValueError) as error:
        raise RefusedError(f"{what}: {type(error).__name__}") from None
    return _address(found.status) if exposure.type == LOAD_BALANCER else ""


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
