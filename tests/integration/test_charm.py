"""The application as an operator uses it. The same on the sandbox and on a controller."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.cluster import PROJECT
from src import files
from tests.integration.drivers import Deployment, endpoints, master, wait, whole

PYTHON = "/var/ossec/framework/python/bin/python3"
UNITS = 3
_MARK = "/run/marked-by-a-test"
#: Run in the workload container. Passwords are read where they lie, so that none is an argument.
_LISTENS = """
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
_LOG_IN = """
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


def _python(deployment: Deployment, unit: str, program: str, *words: str) -> str:
    return deployment.execute(unit, [PYTHON, "-c", program, *words]).strip()


def _enrol(deployment: Deployment, name: str) -> None:
    """Enrol an agent at the Service, from a pod, when that is possible."""
    unit = master(deployment)

    def done() -> bool:
        answer = _python(deployment, unit, _ENROL, "wazuh-server", name)
        return answer.isdigit() or "Duplicate" in answer

    wait(deployment, f"{name} is enrolled", done, 120)


def _known(deployment: Deployment, unit: str) -> set[str]:
    return set(_python(deployment, unit, _AGENTS).splitlines())


def _known_everywhere(deployment: Deployment, name: str) -> None:
    for unit in deployment.units():
        wait(
            deployment,
            f"{unit.name} knows {name}",
            lambda unit=unit: name in _known(deployment, unit.name),
            180,
        )


@pytest.fixture(scope="module")
def deployed(deployment: Deployment) -> Iterator[Deployment]:
    deployment.deploy(UNITS)
    try:
        yield deployment
    finally:
        deployment.destroy()


@pytest.fixture
def cluster(deployed: Deployment) -> Deployment:
    """Three units, whole, however the test before it ended."""
    if len(deployed.units()) != UNITS:
        deployed.scale(UNITS)
    whole(deployed, UNITS)
    return deployed


def test_given_no_option_when_deployed_then_one_master_and_two_workers_are_active(
    cluster: Deployment,
) -> None:
    units = cluster.units()

    assert [unit.name for unit in units] == [f"wazuh-server/{n}" for n in range(UNITS)]
    assert sum(unit.message.startswith("worker of") for unit in units) == UNITS - 1
    assert sum(unit.leader for unit in units) == 1
    assert cluster.version().lstrip("v").startswith("4.14.")


def test_given_the_service_when_its_ports_are_tried_then_each_answers_there_and_on_each_unit(
    cluster: Deployment,
) -> None:
    ports = [str(port) for port in files.PORTS]

    for host in ["wazuh-server", *(unit.address for unit in cluster.units())]:
        found = _python(cluster, "wazuh-server/0", _LISTENS, host, *ports)
        assert found == "all listen", host


def test_given_an_agent_when_it_enrols_at_the_service_then_every_unit_knows_it(
    cluster: Deployment,
) -> None:
    _enrol(cluster, "first-agent")

    _known_everywhere(cluster, "first-agent")


def test_given_the_users_when_they_log_in_then_each_unit_lets_them_and_no_default_password(
    cluster: Deployment,
) -> None:
    for unit in cluster.units():
        assert _python(cluster, unit.name, _LOG_IN, unit.address, "wazuh") == "200"
        assert _python(cluster, unit.name, _LOG_IN, unit.address, "default") == "401"


def test_given_an_enrolment_password_of_ones_own_when_set_then_it_is_in_force_and_goes_again(
    cluster: Deployment,
) -> None:
    made = cluster.secret("enrolment-password")["password"]
    own = "an-agent-password-of-our-own"

    cluster.use_secret("agent-password", {"password": own})
    wait(cluster, "own", lambda: cluster.secret("enrolment-password")["password"] == own, 180)
    whole(cluster, UNITS)
    _enrol(cluster, "with-own-password")
    cluster.config({}, reset=["agent-password"])

    wait(cluster, "made", lambda: cluster.secret("enrolment-password")["password"] != own, 180)
    assert len(made) >= 16


def test_given_a_repository_that_cannot_be_when_set_then_the_status_says_so_and_all_serve(
    cluster: Deployment,
) -> None:
    option = "custom-config-repository"
    cluster.config({option: "git+gopher://rules.example.com/rules.git"})

    def said() -> bool:
        return any(
            unit.status == "blocked" and unit.message.startswith(f"{option}: ")
            for unit in cluster.units()
        )

    wait(cluster, "the sentence", said, 120)
    found = _python(cluster, "wazuh-server/0", _LISTENS, "wazuh-server", "1514", "55000")
    cluster.config({}, reset=[option])
    assert found == "all listen"


@pytest.mark.parametrize(
    ("named", "values"),
    [
        ("secret-rotation", {"secret-rotation": "fortnightly"}),
        (
            "custom-config-",
            {
                "custom-config-known-hosts": "nonsense",
                "custom-config-repository": "git+ssh://git@git.example.com/rules.git",
            },
        ),
    ],
)
def test_given_an_option_without_sense_when_set_then_it_is_named_and_taken_back(
    cluster: Deployment, named: str, values: dict[str, str]
) -> None:
    def said() -> bool:
        return any(
            unit.status == "blocked" and unit.message.startswith(named) for unit in cluster.units()
        )

    cluster.config(values)

    wait(cluster, "the option is named", said, 120)
    cluster.config({}, reset=list(values))
    whole(cluster, UNITS)


def test_given_the_leader_when_asked_for_a_sender_s_certificate_then_a_secret_holds_it(
    cluster: Deployment,
) -> None:
    outcome = cluster.run("wazuh-server/leader", "issue-sender-certificate", name="router")

    assert outcome.done, outcome.message
    assert outcome.results["secret"].startswith("secret:")


def test_given_an_action_when_its_parameters_make_no_sense_then_it_fails_with_a_sentence(
    cluster: Deployment,
) -> None:
    for action, params in (
        ("issue-sender-certificate", {"name": "a b"}),
        ("promote", {"unit": "wazuh-server/99"}),
    ):
        outcome = cluster.run("wazuh-server/leader", action, **params)
        assert not outcome.done
        assert outcome.message


def test_given_a_worker_when_promoted_then_it_is_master_and_knows_every_agent(
    cluster: Deployment,
) -> None:
    _enrol(cluster, "before-promotion")
    _known_everywhere(cluster, "before-promotion")
    chosen = next(u.name for u in cluster.units() if u.message.startswith("worker of"))

    outcome = cluster.run("wazuh-server/leader", "promote", unit=chosen)

    assert outcome.done, outcome.message
    wait(cluster, "promoted", lambda: _is_master(cluster, chosen))
    assert "before-promotion" in _known(cluster, chosen)


def _is_master(deployment: Deployment, unit: str) -> bool:
    return any(u.name == unit and u.message.startswith("master of") for u in deployment.units())


def test_given_the_api_s_users_when_rotated_then_all_passwords_are_others_and_hold(
    cluster: Deployment,
) -> None:
    before = dict(cluster.secret("api-users"))

    outcome = cluster.run("wazuh-server/leader", "rotate-secret", secret="api-users")

    assert outcome.done, outcome.message

    def rotated() -> bool:
        now = cluster.secret("api-users")
        return now.keys() == before.keys() and all(now[key] != before[key] for key in before)

    wait(cluster, "rotated", rotated, 300)
    whole(cluster, UNITS)
    for unit in cluster.units():
        wait(
            cluster,
            "logged in",
            lambda unit=unit: _python(cluster, unit.name, _LOG_IN, unit.address, "wazuh") == "200",
            120,
        )


def test_given_three_units_when_scaled_up_and_down_then_agents_are_kept(
    cluster: Deployment,
) -> None:
    _enrol(cluster, "before-scaling")

    cluster.scale(UNITS + 1)
    whole(cluster, UNITS + 1)
    _known_everywhere(cluster, "before-scaling")
    cluster.scale(UNITS)
    whole(cluster, UNITS)

    _known_everywhere(cluster, "before-scaling")


def test_given_the_master_when_its_pod_is_deleted_then_a_master_serves_and_agents_are_kept(
    cluster: Deployment,
) -> None:
    _enrol(cluster, "before-loss")
    _known_everywhere(cluster, "before-loss")

    lost = master(cluster)
    _mark(cluster, [lost])
    cluster.delete_pod(lost)
    _made_anew(cluster, [lost])
    whole(cluster, UNITS)

    _known_everywhere(cluster, "before-loss")
    _enrol(cluster, "after-loss")


def _mark(deployment: Deployment, units: list[str]) -> None:
    """Leave a file that goes with the container."""
    for unit in units:
        deployment.execute(unit, ["touch", _MARK])


def _made_anew(deployment: Deployment, units: list[str]) -> None:
    """Wait until each unit's container is another than the one that was marked."""
    for unit in units:
        wait(
            deployment,
            f"{unit} is made anew",
            lambda unit=unit: (
                not deployment.execute(
                    unit, ["sh", "-c", f"ls {_MARK} 2>/dev/null || true"]
                ).strip()
            ),
        )


def test_given_a_cluster_when_refreshed_and_rolled_back_then_agents_are_kept(
    cluster: Deployment, other_charm: Path
) -> None:
    _enrol(cluster, "before-refresh")

    for charm in (other_charm, cluster.charm):
        units = [unit.name for unit in cluster.units()]
        _mark(cluster, units)
        cluster.refresh(charm)
        _made_anew(cluster, units)
        whole(cluster, UNITS)
        _known_everywhere(cluster, "before-refresh")


@pytest.mark.parametrize("endpoint", endpoints(PROJECT))
def test_given_a_neighbour_when_related_and_parted_then_the_cluster_is_whole(
    cluster: Deployment, endpoint: str
) -> None:
    if not cluster.integrate(endpoint):
        pytest.skip(f"no neighbour for {endpoint} is to be had here")
    whole(cluster, UNITS)

    cluster.remove_relation(endpoint)

    whole(cluster, UNITS)
