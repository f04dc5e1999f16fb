"""The servers and sidecars of the end-to-end tests, for what goes wrong."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # --import-mode=importlib adds nothing by itself

from tests.e2e.conftest import hosted, lasting, refusing_port, start_server, start_sidecar

__all__ = ["hosted", "lasting", "refusing_port", "start_server", "start_sidecar"]
