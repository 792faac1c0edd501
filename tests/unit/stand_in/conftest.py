import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.wazuh_stand_in import build
from tests.unit.stand_in.nodes import Yard, yard


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stand-in") / "ossec"
    build(folder, Path(sys.executable))
    return folder


@pytest.fixture
def nodes(tree: Path) -> Iterator[Yard]:
    # A short path: a local socket's is limited to 107 bytes.
    with tempfile.TemporaryDirectory(prefix="si-") as folder, yard(tree, Path(folder)) as made:
        yield made
