"""The cluster's network: a veth per pod, the Service as nftables rules, names as hosts files.

Everything lives in one network namespace of its own. Pods have addresses 10.1.0.x/32 and a route
each, as Calico gives them; a Service is a destination NAT as kube-proxy writes it, except that
it takes endpoints in turn and not at random, so that a few connections meet every unit.
"""

from collections.abc import Collection, Iterable, Mapping

from sandbox.model.values import ServiceView

GATEWAY = "169.254.1.1"
CONTROLLER = "10.1.255.1"
KUBERNETES = "10.152.183.1"
KUBERNETES_PORT = 443
SERVICES = "10.152.183.0/24"
CLIENTS = "10.2.0.0/16"
FIRST_CLIENT = "10.2.0.1"
# What a pod can be cut off from on the network; the controller is no packet's business.
FAR = {"peers": "10.1.0.0/17", "kubernetes": KUBERNETES, "clients": CLIENTS}


def root_commands() -> list[str]:
    """Return the `ip` lines that make the cluster's own namespace a router."""
    return [
        "link set lo up",
        f"addr add {GATEWAY}/32 dev lo scope global",
        f"addr add {CONTROLLER}/32 dev lo scope global",
        f"addr add {KUBERNETES}/32 dev lo scope global",
    ]


def attach_commands(device: str, pause: int, network: str) -> list[str]:
    """Return the `ip` lines that connect the namespace of process `pause` to the router."""
    return [
        f"link add {device} type veth peer name eth0 netns {pause}",
        f"link set {device} up",
        f"route replace {network} dev {device} src {CONTROLLER}",
    ]


def inner_commands(address: str) -> list[str]:
    """Return the `ip` lines inside a pod that give it `address` and its way out."""
    return [
        "link set lo up",
        f"addr add {address}/32 dev eth0",
        "link set eth0 up",
        f"route add {GATEWAY} dev eth0 scope link",
        f"route add default via {GATEWAY} dev eth0 src {address}",
    ]


def lost_commands(address: str) -> list[str]:
    """Return the `ip` line after which packets to a lost node vanish without an answer."""
    return [f"route replace blackhole {address}/32"]


def ruleset(services: Iterable[ServiceView], cuts: Mapping[str, Collection[str]]) -> str:
    """Return the whole nftables table, replacing the one before at once.

    `cuts` maps a pod's address to what it is partitioned from: keys of `FAR`.
    """
    services = tuple(services)
    nat = [line for service in services for line in _destination(service)]
    pods = sorted({address for service in services for address in service.headless.values()})
    hairpin = [f"ip saddr {a} ip daddr {a} ct status dnat snat to {CONTROLLER}" for a in pods]
    dropped = [line for address in sorted(cuts) for line in _cut(address, cuts[address])]
    refused = [
        f"ip daddr {SERVICES} ip daddr != {KUBERNETES} meta l4proto tcp reject with tcp reset",
        f"ip daddr {SERVICES} ip daddr != {KUBERNETES} reject",
    ]
    chains = {
        "services": nat,
        "output": ["type nat hook output priority -100;", "jump services"],
        "prerouting": ["type nat hook prerouting priority -100;", "jump services"],
        "postrouting": ["type nat hook postrouting priority 100;", *hairpin],
        "refused": ["type filter hook prerouting priority -90;", *refused],
        "forward": ["type filter hook forward priority 0;", *dropped],
        "input": ["type filter hook input priority 0;", *dropped],
    }
    body = "\n".join(_chain(name, lines) for name, lines in chains.items())
    return f"table ip sandbox\ndelete table ip sandbox\ntable ip sandbox {{\n{body}\n}}\n"


def _chain(name: str, lines: Iterable[str]) -> str:
    return f"  chain {name} {{\n" + "".join(f"    {line}\n" for line in lines) + "  }"


def _destination(service: ServiceView) -> list[str]:
    if not service.endpoints:
        return []
    count = len(service.endpoints)
    turns = ", ".join(f"{turn} : {address}" for turn, address in enumerate(service.endpoints))
    chosen = f"numgen inc mod {count} map {{ {turns} }}"
    return [
        f"ip daddr {service.address} tcp dport {port} dnat to {chosen}" for port in service.ports
    ]


def _cut(address: str, names: Collection[str]) -> list[str]:
    return [
        line
        for name, far in FAR.items()
        if name in names
        for line in (
            f"ip saddr {address} ip daddr {far} drop",
            f"ip saddr {far} ip daddr {address} drop",
        )
    ]


def hosts(
    model: str, services: Iterable[ServiceView], own: Mapping[str, str] | None = None
) -> str:
    """Return a hosts file: Services, every pod's headless names, Kubernetes, and `own` names."""
    lines = ["127.0.0.1 localhost", f"{KUBERNETES} {_names('kubernetes', 'default')} kubernetes"]
    lines += [f"{address} {name}" for name, address in (own or {}).items()]
    for service in services:
        lines.append(f"{service.address} {_names(service.app, model)} {service.app}")
        headless = f"{service.app}-endpoints"
        for host, address in service.headless.items():
            lines.append(f"{address} {_names(f'{host}.{headless}', model)} {host}.{headless}")
            lines.append(f"{address} {_names(headless, model)} {headless}")
    return "\n".join(lines) + "\n"


def _names(service: str, namespace: str) -> str:
    """Return a Service's names, longest first: the first one is what a reverse look-up gives."""
    stem = f"{service}.{namespace}"
    return f"{stem}.svc.cluster.local {stem}.svc {stem}"
