"""What the tests of the report share: journals that the controller has written, and their findings."""

import asyncio
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # --import-mode=importlib adds nothing by itself

from proxy.report.collect import assemble
from proxy.report.composition import compose
from proxy.report.document import Document
from proxy.report.findings import Findings
from proxy.report.reading import read_journal
from tests.report.scene import rolled_back, successful_cutover, waiting


@pytest.fixture(scope="session")
def completed_journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole cutover, with incidents, and a day of monitoring."""
    return asyncio.run(successful_cutover(tmp_path_factory.mktemp("completed"), 600))


@pytest.fixture(scope="session")
def failed_journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that a hard limit has ended at 50 %."""
    return asyncio.run(rolled_back(tmp_path_factory.mktemp("failed"), 600))


@pytest.fixture(scope="session")
def waiting_journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that has not begun: there is little to draw."""
    return asyncio.run(waiting(tmp_path_factory.mktemp("waiting")))


@pytest.fixture(scope="session")
def completed(completed_journal: Path) -> Findings:
    return assemble(completed_journal, read_journal(completed_journal), None)


@pytest.fixture(scope="session")
def failed(failed_journal: Path) -> Findings:
    return assemble(failed_journal, read_journal(failed_journal), None)


@pytest.fixture(scope="session")
def document(completed: Findings) -> Document:
    return compose(completed)
