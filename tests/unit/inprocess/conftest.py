"""The real charm in one process, and a tiny charm for what the runner itself does."""

from pathlib import Path

import pytest

from sandbox.inprocess import Charm, Cluster
from src.charm import WazuhOperatorCharm

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def charm():
    """Load the real charm once."""
    return Charm.load(WazuhOperatorCharm, ROOT)


@pytest.fixture(params=["3.6", "4"])
def mode(request):
    """Give each commit mode."""
    return request.param


@pytest.fixture
def deployed(charm, mode):
    """Give a maker of clusters."""

    def make(**settings) -> Cluster:
        return Cluster(charm, commit_mode=mode, **settings)

    return make


@pytest.fixture
def whole(deployed):
    """Give a maker of clusters that are up."""

    def make(**settings) -> Cluster:
        cluster = deployed(**settings)
        assert cluster.settle(), (cluster.statuses(), cluster.failing())
        return cluster

    return make
