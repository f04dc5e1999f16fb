"""A sidecar with two sources, and a real browser to look at its page with."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # --import-mode=importlib adds nothing by itself

from tests.e2e.conftest import hosted, lasting, start_server, start_sidecar
from tests.page.browsing import CHROMIUM, launch

__all__ = ["hosted", "lasting", "start_server", "start_sidecar"]


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """Debian's Chromium, driven by Playwright; skips, and says why, where either is missing."""
    api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
    if shutil.which(CHROMIUM) is None:
        pytest.skip(f"needs {CHROMIUM}: apt-get install chromium")
    # Ended with the module: as long as it lives, this thread counts as having a running event loop.
    with api.sync_playwright() as playwright:
        running = launch(playwright)
        yield running
        running.close()
