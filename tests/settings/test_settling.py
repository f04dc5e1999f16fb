"""When a change may be believed, by a table and a fake clock."""

from dataclasses import dataclass

import pytest

from proxy.settings.settling import UNKNOWN, Look, Settling, Stamp, settle, settle_presence

OLD = Stamp(1, 1, 1_000, 10)


def edited(number: int) -> Stamp:
    """The same file after its edit `number`."""
    return OLD._replace(mtime_ns=OLD.mtime_ns + number)


NEW = Stamp(1, 2, 2_000, 10)


@dataclass(frozen=True)
class Case:
    name: str
    looks: list[Look]
    passed: list[float]  # when a change was passed on


def look(ms: float, stamp: Stamp | None, **facts: bool) -> Look:
    return Look(ms / 1000, stamp, **facts)


CASES = [
    Case("nothing changed", [look(0, OLD), look(500, OLD, whole=True)], []),
    Case("replaced: at once, and once", [look(0, NEW, moved=True), look(1, NEW, moved=True)], [0]),
    Case("replaced by an unfinished-looking file: at once", [look(0, NEW, moved=True, whole=False)], [0]),
    Case("in place: when two looks agree", [look(0, edited(1), whole=True), look(30, edited(1), whole=True)], [30]),
    Case(
        "in place: not before 30 ms",
        [look(0, edited(1), whole=True), look(29, edited(1), whole=True), look(35, edited(1), whole=True)],
        [35],
    ),
    Case(
        "in place: a second edit starts it anew",
        [
            look(0, edited(1), whole=True),
            look(20, edited(2), whole=True),
            look(40, edited(2), whole=True),
            look(50, edited(2), whole=True),
        ],
        [50],
    ),
    Case(
        "half-written: waits for 500 ms of quiet",
        [look(ms, edited(1)) for ms in (0, 100, 499)] + [look(500, edited(1))],
        [500],
    ),
    Case(
        "half-written, then finished",
        [look(0, edited(1)), look(200, edited(2), whole=True), look(230, edited(2), whole=True)],
        [230],
    ),
    Case(
        "another file that looks half-written: after 100 ms of quiet",
        [look(ms, NEW, new=True) for ms in (0, 99, 100)],
        [100],
    ),
    Case("written and undone", [look(0, edited(1), whole=True), look(10, OLD), look(40, OLD)], []),
    Case("gone: after 500 ms", [look(0, None), look(499, None), look(500, None)], [500]),
    Case("gone and back unchanged", [look(0, None), look(100, OLD), look(600, OLD)], []),
    Case("gone and back as another", [look(0, None), look(100, NEW, moved=True)], [100]),
    Case("gone and written anew", [look(0, None), look(9, NEW, whole=True), look(39, NEW, whole=True)], [39]),
    Case(
        "edited every 10 ms: once in some 500 ms, as soon as two looks 5 ms apart agree",
        [look(ms, edited(ms // 10), whole=True) for ms in range(0, 1100, 5)],
        [515, 1025],
    ),
    Case(
        "edited every ms: after a second all the same",
        [look(ms, edited(ms + 1), whole=True) for ms in range(1100)],
        [1000],
    ),
    Case(
        "edited every 10 ms and never whole: never half a file",
        [look(ms, edited(ms // 10)) for ms in range(0, 3000, 5)],
        [],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_change_is_passed_on_once_it_has_settled(case: Case) -> None:
    state, passed = Settling(OLD), []
    for each in case.looks:
        state, changed = settle(state, each)
        if changed:
            passed.append(round(each.at * 1000))
            assert state == Settling(each.stamp)
    assert passed == case.passed


def test_a_pending_change_says_when_to_look_again() -> None:
    state, _ = settle(Settling(OLD), look(100, edited(1), whole=True))
    assert state.due == pytest.approx(0.130)
    state, _ = settle(state, look(110, edited(2)))
    assert (state.due, state.pending_since) == (pytest.approx(0.610), pytest.approx(0.100))
    state, _ = settle(state, look(120, OLD))
    assert state == Settling(OLD)


def test_a_file_of_unknown_state_counts_as_changed() -> None:
    state, _ = settle(Settling(UNKNOWN), look(0, OLD, whole=True))
    assert settle(state, look(30, OLD, whole=True)) == (Settling(OLD), True)


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [(None, OLD, True), (OLD, None, True), (OLD, NEW, False), (None, None, False), (OLD, edited(1), False)],
)
def test_of_a_kill_switch_only_the_existence_counts(before: Stamp | None, after: Stamp | None, changed: bool) -> None:
    state, passed = settle_presence(Settling(before), look(0, after))
    assert (passed, (state.passed is None) == (after is None)) == (changed, True)
