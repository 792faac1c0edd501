"""`--wazuh DIR`: another installation than the stand-in, at another place."""

import sys
from pathlib import Path

import pytest

from sandbox.driver import CommandFailedError, Driver
from tests.foreign_wazuh.build import build


def test_given_another_installation_when_deployed_then_that_one_serves(tmp_path: Path) -> None:
    installation = tmp_path / "elsewhere"
    build(installation, Path(sys.executable))
    driver = Driver("tests-foreign", wazuh=installation)
    driver.destroy()
    try:
        driver.deploy(2)
        driver.wait_active(2)

        assert driver.status()["sandbox"]["workload"] == f"Wazuh from {installation}"
        for unit in driver.units():
            daemons = driver.exec(unit, ["ps", "-eo", "args="])
            assert "-m wazuh.engine /var/ossec /var/ossec/bin/wazuh-analysisd" in daemons
            assert "stand_in" not in daemons
    finally:
        driver.destroy()


def test_given_a_directory_without_wazuh_when_deployed_then_one_sentence_says_so(
    other: Driver, tmp_path: Path
) -> None:
    with pytest.raises(CommandFailedError, match="holds no bin/wazuh-control"):
        other.deploy(1, "--wazuh", str(tmp_path))
