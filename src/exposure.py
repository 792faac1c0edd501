"""How the application's Service shows itself outside the cluster: four options, checked. Pure."""

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

TYPE = "service-type"
ANNOTATIONS = "service-annotations"
POLICY = "external-traffic-policy"
RANGES = "service-source-ranges"
OPTIONS = (TYPE, ANNOTATIONS, POLICY, RANGES)
CLUSTER_IP, NODE_PORT, LOAD_BALANCER = "ClusterIP", "NodePort", "LoadBalancer"
_TYPES = (CLUSTER_IP, NODE_PORT, LOAD_BALANCER)
_POLICIES = ("Cluster", "Local")
_DEFAULTS = {TYPE: CLUSTER_IP, POLICY: "Cluster"}
_LONGEST_ANNOTATIONS = 64 * 1024
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_KEY = re.compile(rf"([a-z0-9]([a-z0-9.-]{{0,251}}[a-z0-9])?/)?{_LABEL}")
_NO_PAIRS = "has to be key=value pairs, one a line or by commas, or a JSON object of texts"


class BadOptionError(ValueError):
    """An option that is not taken; the text names it and says why."""

    def __init__(self, option: str, reason: str) -> None:
        super().__init__(f"{option}: {reason}")
        self.option, self.reason = option, reason


@dataclass(frozen=True, slots=True)
class Exposure:
    """What the Service is to be."""

    type: str = CLUSTER_IP
    annotations: Mapping[str, str] = field(default_factory=dict)
    policy: str = "Cluster"
    ranges: tuple[str, ...] = ()

    @property
    def is_default(self) -> bool:
        """Whether this is the Service as Juju makes it."""
        return self == Exposure()

    @property
    def is_outside(self) -> bool:
        """Whether it has an address outside the cluster."""
        return self.type != CLUSTER_IP

    def dump(self) -> str:
        """Return a text that tells one exposure from another; empty for Juju's own."""
        if self.is_default:
            return ""
        value = [self.type, dict(self.annotations), self.policy, self.ranges]
        return json.dumps(value, sort_keys=True, separators=(",", ":"))


def parse(options: Mapping[str, str]) -> Exposure:
    """Read the four options, unset ones as Juju has them. Raises BadOptionError."""
    kind = _one_of(TYPE, options, _TYPES)
    policy = _one_of(POLICY, options, _POLICIES)
    ranges = tuple(sorted({_range(text) for text in _items(options.get(RANGES, ""))}))
    if kind == CLUSTER_IP and policy != _DEFAULTS[POLICY]:
        raise BadOptionError(POLICY, f"is of no use with {TYPE}={CLUSTER_IP}")
    if kind != LOAD_BALANCER and ranges:
        raise BadOptionError(RANGES, f"is of use with {TYPE}={LOAD_BALANCER} only")
    return Exposure(kind, _annotations(options.get(ANNOTATIONS, "")), policy, ranges)


def _one_of(option: str, options: Mapping[str, str], allowed: tuple[str, ...]) -> str:
    text = options.get(option, "").strip() or _DEFAULTS[option]
    if text not in allowed:
        raise BadOptionError(option, f"has to be one of {', '.join(allowed)}")
    return text


def _items(text: str) -> list[str]:
    return [item.strip() for item in re.split(r"[,\n]", text) if item.strip()]


def _range(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        raise BadOptionError(RANGES, "has to be networks such as 10.0.0.0/8, by commas") from None


def _annotations(text: str) -> dict[str, str]:
    if len(text) > _LONGEST_ANNOTATIONS:
        raise BadOptionError(ANNOTATIONS, f"is longer than {_LONGEST_ANNOTATIONS} characters")
    found = dict(_pairs(text.strip()))
    for key, value in found.items():
        if not _KEY.fullmatch(key) or not value.isprintable():
            raise BadOptionError(ANNOTATIONS, _NO_PAIRS)
        if "juju.is/" in key or key.startswith("kubectl.kubernetes.io/"):
            raise BadOptionError(ANNOTATIONS, f"{key} belongs to somebody else")
    return dict(sorted(found.items()))


def _pairs(text: str) -> list[tuple[str, str]]:
    """Cut keys and values apart, which may hold commas and equals signs themselves.

    A JSON object says where each ends, and so do lines. In a single line a comma ends a value
    only where what follows looks like the next key.
    """
    if text.startswith("{"):
        return _object(text)
    items = [line.strip().rstrip(",") for line in text.splitlines() if line.strip(" ,\t")]
    if len(items) == 1:
        items = _by_commas(items[0])
    if not all("=" in item for item in items):
        raise BadOptionError(ANNOTATIONS, _NO_PAIRS)
    cut = (item.partition("=") for item in items)
    return [(key.strip(), value.strip()) for key, _, value in cut]


def _by_commas(line: str) -> list[str]:
    items: list[list[str]] = []
    for piece in line.split(","):
        key, sign, _ = piece.partition("=")
        if not items or (sign and _KEY.fullmatch(key.strip())):
            items.append([piece])
        else:
            items[-1].append(piece)
    return [",".join(pieces).rstrip(", ") for pieces in items]


def _object(text: str) -> list[tuple[str, str]]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise BadOptionError(ANNOTATIONS, "is not JSON, though it begins with a brace") from None
    if not all(isinstance(value, str) for value in found.values()):
        raise BadOptionError(ANNOTATIONS, "has to hold texts alone, as JSON in quotes")
    return list(found.items())
