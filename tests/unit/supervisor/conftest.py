"""A fake installation for each test, and nothing of it left afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.supervisor import fake_wazuh


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[fake_wazuh.Fake]:
    """Lay out a fake Wazuh; its processes end with the test."""
    made = fake_wazuh.make(tmp_path)
    yield made
    made.end()


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[fake_wazuh.Fake]:
    """Lay out a fake Wazuh whose start takes some seconds."""
    made = fake_wazuh.make(tmp_path, pause=0.3)
    yield made
    made.end()
