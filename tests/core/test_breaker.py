"""The breaker's table of states, with time given in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.breaker import Breaker, BreakerPolicy, BreakerState, counts_as_failure
from proxy.core.model import FailureKind

ADMITTING, PROBING, REJECTING = BreakerState.ADMITTING, BreakerState.PROBING, BreakerState.REJECTING
POLICY = BreakerPolicy(window_s=10, min_requests=20, failure_ratio=0.5, consecutive=5, open_for_s=5, probes=3)


def tripped(at: float = 0.0) -> Breaker:
    breaker = Breaker(POLICY)
    for _ in range(5):
        breaker.on_attempt(at, failed=True)
    return breaker


def test_failures_in_a_row_open_it():
    breaker = Breaker(POLICY)
    for _ in range(4):
        breaker.on_attempt(0, failed=True)
        assert breaker.admits(0)
    breaker.on_attempt(0, failed=True)
    assert not breaker.admits(0)
    assert breaker.state(0) is REJECTING


def test_a_success_ends_the_row():
    breaker = Breaker(POLICY)
    for _ in range(3):
        for _ in range(4):
            breaker.on_attempt(0, failed=True)
        breaker.on_attempt(0, failed=False)
    assert breaker.admits(0)


def test_the_ratio_opens_it_once_there_are_enough_requests():
    breaker = Breaker(POLICY)
    for n in range(19):
        breaker.on_attempt(0, failed=n % 2 == 0)
    assert breaker.admits(0)
    breaker.on_attempt(0, failed=True)
    assert not breaker.admits(0)


def test_failures_older_than_the_window_do_not_count():
    breaker = Breaker(POLICY)
    for n in range(18):
        breaker.on_attempt(0, failed=n % 2 == 0)
    for n in range(19):
        breaker.on_attempt(20 + n / 10, failed=n % 4 == 0)
    assert breaker.admits(22)


def test_it_probes_after_its_time_and_admits_after_enough_successes():
    breaker = tripped()
    assert breaker.wants_probe(4.9) == 0
    rounds = [breaker.wants_probe(5.0) for _ in range(4)]
    assert all(rounds[:3])
    assert rounds[3] == 0, "no more copies than probes needed"
    for n, probe_round in enumerate(rounds[:3]):
        assert not breaker.admits(5.1), f"a user was let through after {n} probes"
        breaker.on_probe(probe_round, 5.1, failed=False)
    assert breaker.admits(5.1)
    assert breaker.state(5.1) is ADMITTING


def test_one_failed_probe_sends_it_back():
    breaker = tripped()
    first, second = breaker.wants_probe(5), breaker.wants_probe(5)
    breaker.on_probe(first, 5, failed=False)
    breaker.on_probe(second, 6, failed=True)
    assert breaker.state(10.9) is REJECTING
    assert breaker.state(11) is PROBING


def test_a_probe_that_said_nothing_is_sent_again():
    breaker = tripped()
    probes = [breaker.wants_probe(5) for _ in range(3)]
    breaker.on_probe(probes[0], 5, failed=None)
    assert breaker.wants_probe(5)
    assert not breaker.wants_probe(5)


def test_a_probe_of_an_earlier_round_counts_for_nothing():
    breaker = tripped()
    late, quick = breaker.wants_probe(5), breaker.wants_probe(5)
    breaker.on_probe(quick, 5, failed=True)
    assert breaker.state(10) is PROBING
    breaker.on_probe(late, 10, failed=True)
    assert breaker.state(10) is PROBING
    for _ in range(3):
        breaker.on_probe(breaker.wants_probe(10), 10, failed=False)
    assert breaker.admits(10)


def test_attempts_that_end_after_it_opened_change_nothing():
    breaker = tripped()
    breaker.on_attempt(1, failed=False)
    breaker.on_attempt(1, failed=True)
    assert breaker.state(4.99) is REJECTING
    assert breaker.state(5.0) is PROBING


def test_disabled_it_admits_always():
    breaker = Breaker(BreakerPolicy(enabled=False))
    for _ in range(100):
        breaker.on_attempt(0, failed=True)
    assert breaker.admits(0)
    assert not breaker.wants_probe(100)


def test_its_repr_shows_its_state():
    assert "REJECTING" in repr(tripped())


@pytest.mark.parametrize(
    ("kind", "status", "verdict"),
    [
        (FailureKind.CONNECT_ERROR, None, True),
        (FailureKind.TLS_ERROR, None, True),
        (FailureKind.TIMEOUT, None, True),
        (FailureKind.RESET, 200, True),
        (FailureKind.INVALID_RESPONSE, None, True),
        (FailureKind.OVERLOAD, None, None),
        (None, 200, False),
        (None, 404, False),
        (None, 401, False),
        (None, 429, True),
        (None, 500, True),
        (None, 503, True),
        (None, None, False),
    ],
)
def test_what_counts_against_the_target(kind, status, verdict):
    assert counts_as_failure(kind, status) is verdict


@given(st.lists(st.tuples(st.sampled_from(["ok", "fail", "probe_ok", "probe_fail"]), st.floats(0, 3)), max_size=200))
def test_users_are_admitted_only_while_admitting_and_no_probe_is_asked_for_then(events):
    breaker, now = Breaker(POLICY), 0.0
    for event, step in events:
        now += step
        if event in ("ok", "fail"):
            breaker.on_attempt(now, failed=event == "fail")
        elif probe := breaker.wants_probe(now):
            assert not breaker.admits(now)
            breaker.on_probe(probe, now, failed=event == "probe_fail")
        assert breaker.admits(now) is (breaker.state(now) is ADMITTING)
