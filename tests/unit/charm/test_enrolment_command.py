"""The action `enrolment-command`: the host checks whom it tells the password."""

import subprocess
from pathlib import Path

import pytest

from src import enrolment
from tests.unit.charm.provider import authority, provide
from tests.unit.charm.world import leader

HERE = "wazuh-server.sec.svc.cluster.local"
CHAIN = "/etc/wazuh-server/files/etc/sslmanager.cert"


@pytest.fixture
def unit(tmp_path):
    return leader(tmp_path)


def learnt(command: str, folder: Path) -> Path:
    """Let a shell do the part of the command that writes the authority."""
    place = folder / "rootca.pem"
    first = command.split(" && ")[0].replace("sudo ", "")
    assert "/var/ossec/etc/rootca.pem" in first
    script = first.replace("/var/ossec/etc/rootca.pem", str(place))
    subprocess.run(["sh", "-c", script], check=True, timeout=30)
    return place


def verified(chain: str, root: Path, name: str) -> bool:
    """Check with OpenSSL what a server shows, as agent-auth does with `-v`."""
    shown = root.with_name("chain.pem")
    shown.write_text(chain)
    command = ["openssl", "verify", "-CAfile", str(root), "-untrusted", str(shown)]
    done = subprocess.run(
        [*command, "-verify_hostname", name, str(shown)], capture_output=True, timeout=30
    )
    return done.returncode == 0


def test_given_our_own_authority_when_the_command_is_asked_for_then_it_checks_the_certificate(
    unit, tmp_path
):
    results = unit.act("enrolment-command")

    assert f"agent-auth -m {HERE} -v /var/ossec/etc/rootca.pem && " in results["command"]
    root = learnt(results["command"], tmp_path)
    assert root.read_text() == results["authority"]
    assert verified(unit.read(CHAIN), root, HERE)
    assert not verified(unit.read(CHAIN), root, "evil.example.com")
    assert "PRIVATE KEY" not in str(results)


@pytest.mark.parametrize("between", [False, True])
def test_given_another_authority_when_the_command_is_asked_for_then_its_root_is_learnt(
    unit, tmp_path, between
):
    root = authority()
    unit.relate("certificates", "tls-certificates")
    chain = [authority("between", root)] if between else []
    unit.offer("certificates", provide(unit.related("certificates").local_app_data, root, chain))

    results = unit.act("enrolment-command")

    assert results["authority"] == root.pem.strip()
    assert verified(unit.read(CHAIN), learnt(results["command"], tmp_path), HERE)
    unit.part("certificates")
    assert unit.act("enrolment-command")["authority"] != root.pem.strip()


def test_given_a_name_not_signed_yet_when_the_command_is_asked_for_then_nothing_is_checked(unit):
    unit.relate("certificates", "tls-certificates")
    told = provide(unit.related("certificates").local_app_data, authority())
    unit.offer("certificates", told)
    unit.relate("ingress", "traefik_route")
    unit.offer("ingress", {"external_host": "wazuh.example.com"})

    results = unit.act("enrolment-command")

    assert results["command"].startswith("sudo sh -c")
    assert "agent-auth -m wazuh.example.com && " in results["command"]
    assert "authority" not in results


def test_given_a_long_authority_when_told_then_it_is_no_part_of_the_command():
    told = enrolment.tell("a.example.com", "secret:x", authority="x" * 9000)

    assert " -v " not in told["command"]
    assert len(told["command"]) < 1000
    assert told["authority"] == "x" * 9000
