"""Figures that are printed whether or not the tests pass."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # --import-mode=importlib adds nothing by itself

FIGURES: pytest.StashKey[list[str]] = pytest.StashKey()


@pytest.fixture
def say_figure(request: pytest.FixtureRequest):
    """Takes a line that is printed at the end of the tests, always."""
    lines = request.config.stash.setdefault(FIGURES, [])
    return lines.append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    lines = config.stash.get(FIGURES, [])
    if lines:
        terminalreporter.section("figures", "-")
        for line in lines:
            terminalreporter.line(line)
