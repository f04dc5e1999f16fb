"""The project's root on the path, for `docs.site` and `tests.docs`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # --import-mode=importlib adds nothing by itself
