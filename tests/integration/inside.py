"""What the tests do inside a unit, where both drivers are alike: programs for its Python.

Passwords are read where they lie, so that none is an argument.
"""

from tests.integration.drivers import Deployment, master, wait

PYTHON = "/var/ossec/framework/python/bin/python3"
LISTENS = """
import socket, sys
for port in map(int, sys.argv[2:]):
    socket.create_connection((sys.argv[1], port), timeout=5).close()
print("all listen")
"""
_ENROL = """
import socket, ssl, sys
password = open("/var/ossec/etc/authd.pass").read().strip()
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
with socket.create_connection((sys.argv[1], 1515), timeout=20) as plain:
    with context.wrap_socket(plain) as tls:
        tls.sendall(f"OSSEC PASS: {password} OSSEC A:'{sys.argv[2]}'\\n".encode())
        answer = tls.recv(4096).decode()
print(answer.split("'")[1].split()[0] if "OSSEC K:" in answer else answer)
"""
LOG_IN = """
import base64, json, ssl, sys, urllib.error, urllib.request
users = {n: u["password"] for n, u in json.load(open("/etc/wazuh-server/users.json")).items()}
users |= {"default": "wazuh"}
name = sys.argv[2]
pair = f"{'wazuh' if name == 'default' else name}:{users[name]}".encode()
request = urllib.request.Request(
    f"https://{sys.argv[1]}:55000/security/user/authenticate", method="POST",
    headers={"Authorization": "Basic " + base64.b64encode(pair).decode()})
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
try:
    with urllib.request.urlopen(request, context=context, timeout=20) as answer:
        print(answer.status)
except urllib.error.HTTPError as refused:
    print(refused.code)
"""
_AGENTS = """
lines = [line.split() for line in open("/var/ossec/etc/client.keys")]
print("\\n".join(p[1] for p in lines if len(p) == 4 and p[1][0] not in "!#"))
"""


def python(deployment: Deployment, unit: str, program: str, *words: str) -> str:
    """Run a program of Wazuh's own Python in a unit; return what it prints."""
    return deployment.execute(unit, [PYTHON, "-c", program, *words]).strip()


def enrol(deployment: Deployment, name: str, host: str = "wazuh-server") -> None:
    """Enrol an agent at the Service or another address, from a pod, when that is possible."""
    unit = master(deployment)

    def done() -> bool:
        answer = python(deployment, unit, _ENROL, host, name)
        return answer.isdigit() or "Duplicate" in answer

    wait(deployment, f"{name} is enrolled", done, 120)


def known(deployment: Deployment, unit: str) -> set[str]:
    """Return the names of the agents in a unit's client.keys."""
    return set(python(deployment, unit, _AGENTS).splitlines())


def known_everywhere(deployment: Deployment, name: str) -> None:
    """Wait until every unit has an agent's key."""
    for unit in deployment.units():
        wait(
            deployment,
            f"{unit.name} knows {name}",
            lambda unit=unit: name in known(deployment, unit.name),
            180,
        )
