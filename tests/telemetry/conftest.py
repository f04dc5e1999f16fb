"""The project's root on the path: the figures' meaning is tested on the data plane of `tests/net/harness.py`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # --import-mode=importlib adds nothing by itself
