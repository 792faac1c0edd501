"""How a host becomes an agent: the command that people copy. Pure."""

import base64
from collections.abc import Mapping

AGENTS, ENROLMENT, API = "1514", "1515", "55000"
_AUTHORITY = "/var/ossec/etc/rootca.pem"
_LONGEST_AUTHORITY = 8 * 1024
"""Characters of an authority that still fit into a command that people copy."""


def tell(
    address: str, secret_id: str, ports: Mapping[str, int] | None = None, authority: str = ""
) -> dict[str, str]:
    """Return the action's result: address, command, and where the password is found.

    `ports` are those that differ at this address, by Wazuh's own. `authority`, PEM, is whom the
    command has the host know: agent-auth checks nothing without it (os_auth/main-client.c, `-v`).

    The command asks for the password, so that it stands in no history and no list of processes;
    agent-auth reads it from this file (wazuh/src os_auth/main-client.c).
    """
    other = ports or {}
    host = f"[{address}]" if ":" in address else address
    enrolment = f" -p {other[ENROLMENT]}" if ENROLMENT in other else ""
    port = f"s|<port>{AGENTS}</port>|<port>{other.get(AGENTS)}</port>|"
    agents = f"; {port}" if AGENTS in other else ""
    known = bool(authority) and len(authority) <= _LONGEST_AUTHORITY
    word = base64.b64encode(authority.encode()).decode()
    learn = f"echo {word} | base64 -d | sudo tee {_AUTHORITY} > /dev/null && " if known else ""
    verify = f" -v {_AUTHORITY}" if known else ""
    command = (
        f"{learn}sudo sh -c 'umask 077; IFS= read -r word; "
        'echo "$word" > /var/ossec/etc/authd.pass\' && '
        f"sudo /var/ossec/bin/agent-auth -m {address}{enrolment}{verify} && "
        f"sudo sed -i 's|<address>.*</address>|<address>{address}</address>|{agents}' "
        "/var/ossec/etc/ossec.conf && sudo systemctl restart wazuh-agent"
    )
    found = {
        "address": address,
        "api": f"https://{host}:{other.get(API, API)}",
        "command": command,
        "password": f"juju show-secret --reveal {secret_id}",
    }
    if authority:
        found["authority"] = authority
    return found | ({"ports": summary(other)} if other else {})


def summary(ports: Mapping[str, int]) -> str:
    """Say which port of a node leads to which of Wazuh's."""
    return ", ".join(f"{other} for {port}" for port, other in sorted(ports.items(), key=_number))


def _number(item: tuple[str, int]) -> int:
    return int(item[0])
