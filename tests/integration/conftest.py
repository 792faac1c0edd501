"""One whole run of the demo, its cluster kept for what is looked at afterwards."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sandbox.cluster import PROJECT
from sandbox.demo.cluster import Cluster
from sandbox.driver import Driver

_LIMIT = 1500


@dataclass(frozen=True, slots=True)
class Demo:
    """What a run left: its exit code, its words, its table, and the cluster."""

    code: int
    output: str
    report: dict[str, Any]
    driver: Driver


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
