"""What the live page remembers: points for its charts, and what was notable."""

import pytest

from proxy.admin.history import MAX_PAIRS, POINTS, History, point_of, share_in_force
from proxy.admin.notable import KEPT, Notables, differences


def figures(requests, rate=1.5, errors=0.25, p95=12.5):
    return {"1m": {"requests": requests, "rate": rate, "error_ratio": errors, "p95_ms": p95}, "5m": {"requests": 99}}


def status(**changes):
    worker = {"worker": 0, "pid": 7, "state": "serving", "revision": "aaa"}
    base = {
        "revision": "aaa",
        "percentage": 10,
        "enabled": True,
        "override": None,
        "kill_switch": False,
        "breaker": "admitting",
        "ready": True,
        "last_reload": {"result": "applied", "at": 1.0, "error": None},
        "workers": [worker],
        "sources": {},
    }
    return {**base, **changes}


def told(before, after):
    return [(kind, level, text) for kind, level, text in differences(before, after)]


# points


def test_a_point_has_the_figures_of_the_last_minute_of_what_was_asked_for():
    sources = {"postgresql": {"get": figures(3), "list": figures(0)}, "image_service": {"get": figures(5, errors=None)}}
    assert point_of(status(sources=sources), 1000.04) == {
        "at": 1000.0,
        "share": 10,
        "sources": {"postgresql": {"get": [1.5, 0.25, 12.5]}, "image_service": {"get": [1.5, None, 12.5]}},
    }


@pytest.mark.parametrize(
    "strange", [{}, {"sources": None}, {"sources": {"a": None, "b": {"get": 3}}, "percentage": "x"}]
)
def test_a_status_that_lacks_things_makes_an_empty_point(strange):
    assert point_of(strange, 1.0) == {"at": 1.0, "share": 0, "sources": {}}


@pytest.mark.parametrize(
    ("changes", "share"),
    [({}, 10), ({"enabled": False}, 0), ({"kill_switch": True}, 0), ({"percentage": 100}, 100)],
)
def test_the_share_is_what_counts(changes, share):
    assert share_in_force(status(**changes)) == share


def test_the_history_is_bounded_in_points_and_in_what_a_point_holds():
    many = {"postgresql": {f"op{number}": figures(1) for number in range(500)}}
    history = History()
    for second in range(POINTS + 50):
        history.add(status(sources=many), float(second))
    kept = history.since(0)
    assert (len(kept), kept[0]["at"], kept[-1]["at"]) == (POINTS, 50.0, POINTS + 49.0)
    assert len(kept[0]["sources"]["postgresql"]) == MAX_PAIRS
    assert POINTS * 5 >= 15 * 60
    assert repr(history) == f"<History {POINTS} points, serial={POINTS + 50}>"


def test_a_reader_gets_what_is_new_to_it():
    history = History()
    for second in range(3):
        history.add(status(), float(second))
    assert [point["at"] for point in history.since(1)] == [1.0, 2.0]
    assert history.since(3) == []
    assert history.since(99) == []


# what is notable


def test_nothing_is_told_of_nothing():
    assert told(status(), status()) == []
    assert told({}, {}) == []


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {"percentage": 50}, ("rollout_changed", "info", "Rollout: 10 % → 50 %")),
        ({}, {"percentage": 0, "enabled": False}, ("rollout_changed", "warn", "Rollout: 10 % → 0 %, disabled")),
        (
            {},
            {"percentage": 5, "override": {"origin": "api", "percentage": 5}},
            ("rollout_changed", "warn", "Rollout: 10 % → 5 %, as an override by api"),
        ),
        (
            {"override": {"origin": "api"}},
            {},
            ("rollout_changed", "info", "Rollout: the override ended"),
        ),
        ({}, {"kill_switch": True}, ("kill_switch", "bad", "Kill switch on: everything goes to legacy")),
        ({"kill_switch": True}, {}, ("kill_switch", "good", "Kill switch off")),
        ({}, {"breaker": "rejecting"}, ("breaker", "bad", "Circuit breaker: admitting → rejecting")),
        ({"breaker": "rejecting"}, {"breaker": "probing"}, ("breaker", "warn", "Circuit breaker: rejecting → probing")),
        ({"breaker": "probing"}, {}, ("breaker", "good", "Circuit breaker: probing → admitting")),
        (
            {},
            {"last_reload": {"result": "rejected", "at": 2.0, "error": "line 3: no\nmore"}},
            ("config_rejected", "bad", "Configuration rejected: line 3: no"),
        ),
        (
            {},
            {"revision": "bbb", "last_reload": {"result": "applied", "at": 2.0, "error": None}},
            ("config_applied", "info", "Configuration applied: revision bbb"),
        ),
        ({}, {"workers": []}, ("worker_died", "bad", "Worker 0 (process 7) is gone")),
        (
            {"workers": [{"worker": 0, "pid": 7, "state": "draining"}]},
            {"workers": []},
            ("worker_ended", "info", "Worker 0 (process 7) finished its drain"),
        ),
        ({"workers": []}, {}, ("worker_started", "info", "Worker 0 (process 7) started")),
        ({}, {"ready": False}, ("ready", "bad", "Not serving: starting or draining")),
        ({"ready": False}, {}, ("ready", "good", "Serving requests")),
    ],
)
def test_each_change_is_told_in_a_sentence(before, after, expected):
    assert told(status(**before), status(**after)) == [expected]


def test_a_worker_that_was_replaced_between_two_looks_is_told_with_its_successor():
    after = status(workers=[{"worker": 0, "pid": 8, "state": "serving"}])
    assert told(status(), after) == [
        ("worker_gone", "warn", "Worker 0 (process 7) is gone and was replaced"),
        ("worker_started", "info", "Worker 0 (process 8) started"),
    ]


@pytest.mark.parametrize(
    "reload",
    [
        {"result": "unchanged", "at": 2.0},
        {"result": "applied", "at": 1.0},
        {"result": "rejected", "at": 2.0, "error": "e"},
    ],
)
def test_a_reload_that_changes_nothing_is_not_told_again(reload):
    before = status(last_reload={"result": "rejected", "at": 1.0, "error": "e"})
    assert told(before, status(last_reload=reload)) == []


def test_events_are_numbered_timed_cut_and_bounded():
    notables = Notables()
    notables.look(status(), 1.0)
    assert notables.since(0) == []
    rejected = {"result": "rejected", "at": 2.0, "error": "x" * 5000}
    notables.look(status(last_reload=rejected), 2.04)
    [event] = notables.since(0)
    assert (event["id"], event["at"], len(event["text"])) == (1, 2.0, 300)
    for number in range(KEPT + 10):
        notables.look(status(percentage=number % 2), 3.0)
    kept = notables.since(0)
    assert len(kept) == KEPT
    assert kept[-1]["id"] == notables.serial
    assert notables.since(notables.serial - 2) == kept[-2:]
    assert repr(notables) == f"<Notables {KEPT} kept, serial={notables.serial}>"
