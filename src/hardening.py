"""What guards the application in Kubernetes, when `harden-network` asks for it. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from src import digests
from src.cluster import Names

OPTION = "harden-network"
PARTLY = "partly"
"""The mark of a guard of which some may be there."""
BETWEEN_UNITS = (1516, 8514)
"""Wazuh's cluster, and the channel of the supervisors."""


def objects(names: Names, open_ports: Sequence[int]) -> tuple[dict[str, Any], ...]:
    """Return a NetworkPolicy and a PodDisruptionBudget, as Kubernetes has them.

    Only the application's own pods reach the ports between units. The node's kubelet, which asks
    for the pods' health, is never shut out (Kubernetes' page on network policies).
    """
    own = {"matchLabels": {"app.kubernetes.io/name": names.application}}
    policy = {
        "podSelector": own,
        "policyTypes": ["Ingress"],
        "ingress": [
            {"ports": _ports(open_ports)},
            {"from": [{"podSelector": own}], "ports": _ports(BETWEEN_UNITS)},
        ],
    }
    budget = {"maxUnavailable": 1, "selector": own}
    return (
        _object("networking.k8s.io/v1", "NetworkPolicy", names, policy),
        _object("policy/v1", "PodDisruptionBudget", names, budget),
    )


def name(names: Names) -> str:
    """Return what both are called."""
    return f"{names.application}-hardened"


def mark(key: str, names: Names, open_ports: Sequence[int]) -> str:
    """Return a keyed digest that tells one wish from another."""
    return digests.keyed(key, objects(names, open_ports))


def _object(version: str, kind: str, names: Names, spec: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {
        "name": name(names),
        "namespace": names.model,
        "labels": {"app.kubernetes.io/name": names.application},
    }
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": dict(spec)}


def _ports(numbers: Sequence[int]) -> list[dict[str, Any]]:
    return [{"protocol": "TCP", "port": number} for number in numbers]
