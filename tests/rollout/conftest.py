"""What the tests of the rollout share."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # --import-mode=importlib adds nothing by itself

from tests.e2e.conftest import hosted, lasting
from tests.rollout.world import World

__all__ = ["hosted", "lasting"]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)
