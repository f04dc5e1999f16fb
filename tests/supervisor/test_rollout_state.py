"""What is in force, and when an override ends: the table of `rollout_state`, played."""

import pytest

from proxy.supervisor.rollout_state import (
    RolloutState,
    Share,
    keys_to_write,
    on_file,
    on_kill_switch,
    on_override,
    on_written,
    share_after,
)

FILE = Share(50, enabled=True)
BACK = Share(0, enabled=False)
START = RolloutState(FILE, "section 1")
ROLLED_BACK = on_override(START, BACK, "api", 7.0)


def test_without_an_override_the_file_counts() -> None:
    assert (START.share, START.override) == (FILE, None)


def test_an_override_stands_above_the_file() -> None:
    override = ROLLED_BACK.override
    assert override is not None
    assert (ROLLED_BACK.share, ROLLED_BACK.file) == (BACK, FILE)
    assert (override.origin, override.at, override.section) == ("api", 7.0, "section 1")


CAUGHT_UP = on_file(ROLLED_BACK, BACK, "section 1")


def test_a_file_that_catches_up_with_the_override_settles_it_and_nothing_changes() -> None:
    assert (CAUGHT_UP.override, CAUGHT_UP.share) == (None, BACK)


@pytest.mark.parametrize(
    ("what", "state", "in_force"),
    [
        ("the same file again", on_file(ROLLED_BACK, FILE, "section 1"), BACK),
        ("another value of a placeholder", on_file(ROLLED_BACK, Share(60, enabled=True), "section 1"), BACK),
        ("the override's value in a placeholder, then another", on_file(CAUGHT_UP, FILE, "section 1"), FILE),
        ("another section", on_file(ROLLED_BACK, Share(60, enabled=True), "section 2"), Share(60, enabled=True)),
        ("another section and back", on_file(on_file(ROLLED_BACK, FILE, "section 2"), FILE, "section 1"), FILE),
        ("the kill switch", on_kill_switch(on_kill_switch(ROLLED_BACK, engaged=True), engaged=False), BACK),
        ("another override", on_override(ROLLED_BACK, Share(5, enabled=True), "api", 8.0), Share(5, enabled=True)),
        ("its being written", on_written(ROLLED_BACK, BACK, "section 2", ROLLED_BACK.override), BACK),
    ],
)
def test_what_is_in_force_after(what: str, state: RolloutState, in_force: Share) -> None:
    assert state.share == in_force, what


def test_an_override_ends_when_it_is_written() -> None:
    state = on_written(ROLLED_BACK, BACK, "section 2", ROLLED_BACK.override)
    assert (state.override, state.section) == (None, "section 2")


def test_a_rollback_made_while_a_change_was_being_written_stays_and_counts_from_there() -> None:
    state = on_written(ROLLED_BACK, Share(70, enabled=True), "section 2", None)
    assert state.share == BACK
    assert on_file(state, Share(70, enabled=True), "section 2").share == BACK
    assert on_file(state, Share(80, enabled=True), "section 3").share == Share(80, enabled=True)


@pytest.mark.parametrize(
    ("state", "percentage", "enabled", "written", "share"),
    [
        (START, 60, None, (60, None), Share(60, enabled=True)),
        (START, None, False, (None, False), Share(50, enabled=False)),
        (START, 50, None, (50, None), FILE),
        (ROLLED_BACK, 10, None, (10, False), Share(10, enabled=False)),
        (ROLLED_BACK, None, True, (0, True), Share(0, enabled=True)),
        (ROLLED_BACK, 10, True, (10, True), Share(10, enabled=True)),
    ],
)
def test_a_change_is_made_on_what_is_in_force_and_brings_no_value_of_the_file_back(
    state: RolloutState,
    percentage: int | None,
    enabled: bool | None,
    written: tuple[int | None, bool | None],
    share: Share,
) -> None:
    assert keys_to_write(state, percentage, enabled=enabled) == written
    assert share_after(state, percentage, enabled=enabled) == share
