"""The page about migrating: its own lines are typed, with the sandbox in place of kubectl."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from secrets import token_hex

from sandbox.cluster import PROJECT
from sandbox.demo.cluster import Cluster
from sandbox.driver import APPLICATION, Driver

_PAGE = PROJECT / "docs/how-to/migrate.md"
_AGENTS = 25


def _lines(title: str) -> str:
    """Return the commands below a heading, without those that deploy and that name the pod."""
    found = re.search(
        rf"^## {title}\n.*?```shell\n(.*?)```", _PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
    assert found is not None
    lines = [one for one in found[1].splitlines() if not one.startswith(("juju ", "NEW="))]
    return "\n".join(lines)


def _old_server(folder: Path) -> dict[str, str]:
    """Lay out what is taken from an old server; return name to key of its agents."""
    agents = {f"host-{number}": token_hex(32) for number in range(1, _AGENTS + 1)}
    rows = [f"{n:03} {name} any {key}" for n, (name, key) in enumerate(agents.items(), 1)]
    rows.insert(3, f"900 !gone any {token_hex(32)}")
    (folder / "etc").mkdir(parents=True)
    (folder / "etc/client.keys").write_text("\n".join(rows) + "\n")
    for group in ("default", "linux"):
        (folder / "etc/shared" / group).mkdir(parents=True)
        conf = folder / "etc/shared" / group / "agent.conf"
        conf.write_text(f"<agent_config><!-- {group} of old --></agent_config>\n")
    return agents


def _taken(driver: Driver, unit: str) -> dict[str, str]:
    text = driver.exec(unit, ["cat", "/var/ossec/etc/client.keys"], check=False)
    rows = [line.split() for line in text.splitlines()]
    return {row[1]: row[3] for row in rows if len(row) == 4 and row[1][0] not in "!#"}


def test_given_an_old_server_s_files_when_moved_as_the_page_says_then_all_units_have_its_agents(
    other: Driver, tmp_path: Path
) -> None:
    agents = _old_server(tmp_path)
    other.deploy(1)
    other.wait_active(1)
    here = [sys.executable, "-m", "sandbox.cli", "--root", str(other.root), "exec"]
    place = ["-m", other.model, "--unit", f"{APPLICATION}/0", "--container", APPLICATION, "--"]

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", _lines("3. Keys and groups")],
        cwd=tmp_path,
        env=os.environ | {"NEW": shlex.join([*here, *place]), "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    other.wait("its agents are there", lambda: _taken(other, f"{APPLICATION}/0") == agents, 120)
    other.wait_active(1)
    other.juju("scale-application", APPLICATION, "2")
    other.wait_active(2)
    for unit in (f"{APPLICATION}/0", f"{APPLICATION}/1"):
        other.wait(
            f"{unit} has all",
            lambda unit=unit: (
                _taken(other, unit) == agents and "linux of old" in _group(other, unit, "linux")
            ),
            180,
        )
        owner = ["stat", "-c", "%U:%G", "/var/ossec/etc/client.keys", "/var/ossec/etc/shared"]
        assert set(other.exec(unit, owner).split()) == {"wazuh:wazuh"}
    password = Cluster(other).secret("enrolment-password")["password"]
    request = {"host": APPLICATION, "names": ["after-moving"], "password": password}
    (answer,) = map(json.loads, other.client("agents", request).splitlines())
    assert int(answer["id"]) > 900, answer


def _group(driver: Driver, unit: str, group: str) -> str:
    return driver.exec(unit, ["cat", f"/var/ossec/etc/shared/{group}/agent.conf"], check=False)
