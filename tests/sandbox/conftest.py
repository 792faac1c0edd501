"""One cluster of three units for all tests that leave it whole."""

from collections.abc import Iterator

import pytest

from sandbox.driver import Driver


@pytest.fixture(scope="session")
def cluster() -> Iterator[Driver]:
    driver = Driver("tests")
    driver.destroy()
    driver.deploy(3)
    try:
        driver.wait_active(3)
        driver.wait_idle()
        yield driver
    finally:
        driver.destroy()


@pytest.fixture
def whole(cluster: Driver) -> Iterator[Driver]:
    """The same cluster for tests that break it: afterwards it is waited for."""
    yield cluster
    for unit in cluster.units():
        cluster.juju("heal", unit)
    cluster.wait_active(3)
    cluster.wait_idle()


@pytest.fixture
def other() -> Iterator[Driver]:
    """A model of its own, not deployed yet, that is gone after the test."""
    driver = Driver("tests-other")
    driver.destroy()
    yield driver
    driver.destroy()
