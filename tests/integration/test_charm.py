"""The application as an operator uses it. The same on the sandbox and on a controller."""

import re
from pathlib import Path

import pytest

from src import files
from tests.integration.drivers import UNITS, Deployment, master, wait, whole
from tests.integration.inside import LISTENS, LOG_IN, enrol, known, known_everywhere, python

_MARK = "/run/marked-by-a-test"


@pytest.fixture
def cluster(application: Deployment) -> Deployment:
    """Three units, whole."""
    return application


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
        found = python(cluster, "wazuh-server/0", LISTENS, host, *ports)
        assert found == "all listen", host


def test_given_an_agent_when_it_enrols_at_the_service_then_every_unit_knows_it(
    cluster: Deployment,
) -> None:
    enrol(cluster, "first-agent")

    known_everywhere(cluster, "first-agent")


def test_given_the_users_when_they_log_in_then_each_unit_lets_them_and_no_default_password(
    cluster: Deployment,
) -> None:
    for unit in cluster.units():
        assert python(cluster, unit.name, LOG_IN, unit.address, "wazuh") == "200"
        assert python(cluster, unit.name, LOG_IN, unit.address, "default") == "401"


def test_given_an_enrolment_password_of_ones_own_when_set_then_it_is_in_force_and_goes_again(
    cluster: Deployment,
) -> None:
    made = cluster.secret("enrolment-password")["password"]
    own = "an-agent-password-of-our-own"

    cluster.use_secret("agent-password", {"password": own})
    wait(cluster, "own", lambda: cluster.secret("enrolment-password")["password"] == own, 180)
    whole(cluster, UNITS)
    enrol(cluster, "with-own-password")
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
    found = python(cluster, "wazuh-server/0", LISTENS, "wazuh-server", "1514", "55000")
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


#: Option to a value, and what is seen of it in the files below.
_OPTIONS = {
    "log-level": ("debug", "analysisd.debug=1"),
    "log-alert-level": ("4", "<log_alert_level>4<"),
    "email-to": ("soc@example.com", "<email_to>soc@example.com<"),
    "email-from": ("wazuh@example.com", "<email_from>wazuh@example.com<"),
    "email-smtp-server": ("127.0.0.1", "<smtp_server>127.0.0.1<"),
    "email-alert-level": ("11", "<email_alert_level>11<"),
    "syslog-output": ("127.0.0.1:5514/json", "<port>5514<"),
    "agent-force": ("false", "<force><enabled>no<"),
    "agent-force-disconnected-time": ("3h", ">3h</disconnected_time>"),
    "agent-force-after-registration-time": ("2h", "<after_registration_time>2h<"),
    "vulnerability-detection": ("true", "<vulnerability-detection><enabled>yes<"),
    "vulnerability-feed-url": ("file:///none", "<offline-url>file:///none<"),
}
_FILES = "cd /var/ossec/etc; cat ossec.conf; cat local_internal_options.conf || true"


def test_given_options_of_all_kinds_when_set_and_reset_then_every_unit_has_them_and_has_not(
    cluster: Deployment,
) -> None:
    def seen(unit: str) -> set[str]:
        text = re.sub(r"\s", "", cluster.execute(unit, ["sh", "-c", _FILES]))
        return {name for name, (_, told) in _OPTIONS.items() if told in text}

    units = [unit.name for unit in cluster.units()]
    assert set().union(*map(seen, units)) == set()

    cluster.config({name: value for name, (value, _) in _OPTIONS.items()})
    wait(cluster, "set", lambda: all(seen(unit) == set(_OPTIONS) for unit in units))
    whole(cluster, UNITS)

    cluster.config({}, reset=list(_OPTIONS))
    wait(cluster, "reset", lambda: not any(map(seen, units)))
    whole(cluster, UNITS)


def test_given_the_leader_when_asked_for_a_sender_s_certificate_then_a_secret_holds_it(
    cluster: Deployment,
) -> None:
    outcome = cluster.run("wazuh-server/leader", "issue-sender-certificate", name="router")

    assert outcome.done, outcome.message
    assert outcome.results["secret"].startswith("secret:")


def test_given_any_unit_when_asked_for_the_cluster_then_it_shows_all_units(
    cluster: Deployment,
) -> None:
    for unit in cluster.units():
        # What units tell each other comes some seconds after they are whole.
        wait(cluster, f"{unit.name} shows all", lambda unit=unit: _shows_all(cluster, unit.name))


def _shows_all(deployment: Deployment, unit: str) -> bool:
    outcome = deployment.run(unit, "show-cluster")
    assert outcome.done, outcome.message
    rows = outcome.results["table"].splitlines()[1:]
    serving = [row.split()[:3] for row in rows if row.split()[2] == "serving"]
    chief = master(deployment)
    return outcome.results["master"] == chief and sorted(serving) == [
        [one.name, "master" if one.name == chief else "worker", "serving"]
        for one in deployment.units()
    ]


def test_given_the_leader_when_asked_how_to_enrol_then_the_command_leads_to_the_service(
    cluster: Deployment,
) -> None:
    outcome = cluster.run("wazuh-server/leader", "enrolment-command")

    assert outcome.done, outcome.message
    address = outcome.results["address"]
    assert f"agent-auth -m {address} " in outcome.results["command"]
    assert outcome.results["password"].startswith("juju show-secret --reveal secret:")
    assert cluster.secret("enrolment-password")["password"] not in str(outcome)
    assert python(cluster, "wazuh-server/0", LISTENS, address, "1515", "55000") == "all listen"


def test_given_no_repository_when_asked_to_look_at_it_then_the_action_fails_with_a_sentence(
    cluster: Deployment,
) -> None:
    outcome = cluster.run(master(cluster), "sync-configuration")

    assert not outcome.done
    assert "custom-config-repository" in outcome.message


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
    enrol(cluster, "before-promotion")
    known_everywhere(cluster, "before-promotion")
    chosen = next(u.name for u in cluster.units() if u.message.startswith("worker of"))

    outcome = cluster.run("wazuh-server/leader", "promote", unit=chosen)

    assert outcome.done, outcome.message
    wait(cluster, "promoted", lambda: _is_master(cluster, chosen))
    assert "before-promotion" in known(cluster, chosen)


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
            lambda unit=unit: python(cluster, unit.name, LOG_IN, unit.address, "wazuh") == "200",
            120,
        )


def test_given_three_units_when_scaled_up_and_down_then_agents_are_kept(
    cluster: Deployment,
) -> None:
    enrol(cluster, "before-scaling")

    cluster.scale(UNITS + 1)
    whole(cluster, UNITS + 1)
    known_everywhere(cluster, "before-scaling")
    cluster.scale(UNITS)
    whole(cluster, UNITS)

    known_everywhere(cluster, "before-scaling")


def test_given_the_master_when_its_pod_is_deleted_then_a_master_serves_and_agents_are_kept(
    cluster: Deployment,
) -> None:
    enrol(cluster, "before-loss")
    known_everywhere(cluster, "before-loss")

    lost = master(cluster)
    _mark(cluster, [lost])
    cluster.delete_pod(lost)
    _made_anew(cluster, [lost])
    whole(cluster, UNITS)

    known_everywhere(cluster, "before-loss")
    enrol(cluster, "after-loss")


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


def test_given_the_leader_when_its_node_is_lost_then_another_is_master_with_every_agent(
    cluster: Deployment,
) -> None:
    enrol(cluster, "before-the-leader-went")
    known_everywhere(cluster, "before-the-leader-went")
    lost = _leader(cluster)

    cluster.lose_node(lost)
    try:
        wait(cluster, "another leader", lambda: _leader(cluster) not in ("", lost))
        wait(cluster, "it is master", lambda: _is_master(cluster, _leader(cluster)))
        assert "before-the-leader-went" in known(cluster, _leader(cluster))
    finally:
        cluster.restore_node(lost)

    whole(cluster, UNITS)
    known_everywhere(cluster, "before-the-leader-went")


def test_given_the_leader_among_those_removed_when_scaled_down_then_the_rest_has_every_agent(
    cluster: Deployment,
) -> None:
    enrol(cluster, "before-scaling-to-one")
    known_everywhere(cluster, "before-scaling-to-one")
    if _leader(cluster) == "wazuh-server/0":
        cluster.lose_node("wazuh-server/0")
        wait(cluster, "another leader", lambda: _leader(cluster) not in ("", "wazuh-server/0"))
        cluster.restore_node("wazuh-server/0")
        whole(cluster, UNITS)

    cluster.scale(1)
    whole(cluster, 1)

    assert _leader(cluster) == master(cluster) == "wazuh-server/0"
    assert "before-scaling-to-one" in known(cluster, "wazuh-server/0")


def _leader(deployment: Deployment) -> str:
    return next((unit.name for unit in deployment.units() if unit.leader), "")


def test_given_a_cluster_when_refreshed_and_rolled_back_then_agents_are_kept(
    cluster: Deployment, other_charm: Path
) -> None:
    enrol(cluster, "before-refresh")

    for charm in (other_charm, cluster.charm):
        units = [unit.name for unit in cluster.units()]
        _mark(cluster, units)
        cluster.refresh(charm)
        _made_anew(cluster, units)
        whole(cluster, UNITS)
        known_everywhere(cluster, "before-refresh")
