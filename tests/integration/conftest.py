"""Where the cluster is: the demo's, kept for what is looked at afterwards, or one of a driver."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from sandbox.cluster import PROJECT
from sandbox.demo.cluster import Cluster
from sandbox.driver import Driver
from tests.integration.drivers import UNITS, Deployment, OnJuju, OnSandbox, whole

_LIMIT = 1500


@dataclass(frozen=True, slots=True)
class Demo:
    """What a run left: its exit code, its words, its table, and the cluster."""

    code: int
    output: str
    report: dict[str, Any]
    driver: Driver


def pytest_addoption(parser: pytest.Parser) -> None:
    """Say where the tests run, and with what; pytest-operator has the options for the model."""
    group = parser.getgroup("wazuh-server")
    group.addoption("--driver", choices=["sandbox", "juju"], default="sandbox")
    group.addoption("--charm-file", help="a packed charm; without it the sandbox takes the tree")
    group.addoption("--wazuh-server-image", help="the image, as Juju takes an OCI resource")
    group.addoption(
        "--neighbour",
        action="append",
        metavar="ENDPOINT=OFFER",
        help="an offer of another model to relate at an endpoint; may be given again",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Look at the demo first, then at the application that both drivers have.

    What only the sandbox can do or see is left out on a controller.
    """
    items.sort(key=lambda item: (not _needs(item, "demo"), not _needs(item, "deployed")))
    if config.getoption("--driver") == "juju":
        skip = pytest.mark.skip(reason="looks into the sandbox")
        for item in items:
            if "deployment" not in getattr(item, "fixturenames", ()):
                item.add_marker(skip)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """End a cluster after the last test that looks at it: two cores have enough to do."""
    found = getattr(item, "funcargs", {})
    if "demo" in found and not _needs(nextitem, "demo"):
        found["demo"].driver.destroy()
    if "deployed" in found and not _needs(nextitem, "deployed"):
        found["deployed"].destroy()


def _needs(item: pytest.Item | None, fixture: str) -> bool:
    return fixture in getattr(item, "fixturenames", ())


def _for_how_long(fixture_name: str, config: pytest.Config) -> Literal["session", "module"]:
    """On a controller pytest-operator makes a model for each module."""
    return "session" if config.getoption("--driver") == "sandbox" else "module"


@pytest.fixture(scope=_for_how_long)
def deployment(request: pytest.FixtureRequest) -> Deployment:
    """Where the application is deployed, as the command line says."""
    given = request.config.getoption("--charm-file") or os.environ.get("WAZUH_SERVER_CHARM")
    charm = Path(given or PROJECT).absolute()
    if request.config.getoption("--driver") == "sandbox":
        return OnSandbox(charm)
    image = request.config.getoption("--wazuh-server-image")
    if not given or not image:
        pytest.fail("on Juju, name --charm-file and --wazuh-server-image")
    offers = dict(pair.split("=", 1) for pair in request.config.getoption("--neighbour") or ())
    return OnJuju(charm, image, request.getfixturevalue("ops_test").model_full_name, offers)


@pytest.fixture(scope=_for_how_long)
def deployed(deployment: Deployment) -> Iterator[Deployment]:
    """Deployed once for all tests that leave it whole."""
    deployment.deploy(UNITS)
    try:
        yield deployment
    finally:
        deployment.destroy()


@pytest.fixture
def application(deployed: Deployment) -> Deployment:
    """Three units, whole, however the test before it ended."""
    if len(deployed.units()) != UNITS:
        deployed.scale(UNITS)
    whole(deployed, UNITS)
    return deployed


@pytest.fixture(scope=_for_how_long)
def other_charm(deployment: Deployment) -> Path:
    """Another build of the charm to refresh to; on the sandbox the tree, where it can be had."""
    return PROJECT if isinstance(deployment, OnSandbox) else deployment.charm


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Run the demo with every program's arguments watched."""
    driver, result = Driver("tests-demo"), tmp_path_factory.mktemp("demo") / "result.json"
    command = ["--model", driver.model, "--keep", "--watch-arguments", "--json", str(result)]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "sandbox.demo", *command],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_LIMIT,
            check=False,
        )
        sys.stdout.write(done.stdout)
        report = json.loads(result.read_text()) if result.exists() else {}
        yield Demo(done.returncode, done.stdout, report, driver)
    finally:
        driver.destroy()


@pytest.fixture
def cluster(demo: Demo) -> Iterator[Cluster]:
    """The demo's cluster, whole before and after the test."""
    whole = Cluster(demo.driver)
    whole.wait("three units active", lambda: whole.is_whole(3))
    yield whole
    whole.wait("three units active", lambda: whole.is_whole(3))


@pytest.fixture
def fresh() -> Iterator[Driver]:
    """A model of its own, not deployed yet, that is gone after the test."""
    driver = Driver("tests-fresh")
    driver.destroy()
    yield driver
    driver.destroy()


@pytest.fixture(scope="session")
def logs(demo: Demo) -> Path:
    """Where the model's logs lie."""
    return demo.driver.home
