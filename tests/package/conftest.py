"""The packed charm that `make pack` leaves in the project's folder."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".tools/pack"


@pytest.fixture(scope="session")
def charm() -> Path:
    """The newest packed charm."""
    found = sorted(ROOT.glob("*.charm"), key=lambda path: path.stat().st_mtime)
    if not found:
        pytest.fail("there is no packed charm: run `make pack`, which runs these tests")
    return found[-1]
