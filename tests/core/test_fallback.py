"""fall back or commit: the decision tables, complete."""

import itertools

import pytest

from proxy.core.fallback import (
    FallbackPolicy,
    Replay,
    RequestFacts,
    Verdict,
    failure_status,
    is_failure,
    is_idempotent,
    judge_hold,
    may_fall_back,
)
from proxy.core.model import FailureKind, Role

METHODS = (b"GET", b"HEAD", b"OPTIONS", b"POST", b"PUT", b"PATCH", b"DELETE", b"get", b"PURGE")
SAFE = {b"GET", b"HEAD", b"OPTIONS"}
NOTHING_SENT = {"connect_error", "tls_error", "overload"}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", [None, *FailureKind])
def test_who_may_ask_legacy(method, kind):
    """Every combination, against the contract's sentence written out a second time."""
    flag = (True, False)
    for enabled, key, kept, sent, replay in itertools.product(flag, flag, flag, flag, Replay):
        facts = RequestFacts(method, key, kept, sent)
        allowed = may_fall_back(FallbackPolicy(enabled=enabled, replay=replay), facts, kind)
        unsafe_allowed = replay is Replay.ALWAYS or (replay is Replay.WITH_IDEMPOTENCY_KEY and key)
        nothing_sent = kind is not None and str(kind) in NOTHING_SENT and not sent
        assert allowed is (enabled and kept and (method in SAFE or nothing_sent or unsafe_allowed))


@pytest.mark.parametrize("method", METHODS)
def test_idempotent_methods_are_those_of_the_rfc(method):
    assert is_idempotent(method) is (method in SAFE | {b"PUT", b"DELETE"})


@pytest.mark.parametrize(("complete", "unbounded", "memory_left"), list(itertools.product((True, False), repeat=3)))
@pytest.mark.parametrize("held", [0, 99, 100, 101])
def test_an_answer_is_held_until_there_is_a_reason_to_commit(held, complete, unbounded, memory_left):
    policy = FallbackPolicy(response_buffer=100)
    verdict = judge_hold(policy, held=held, complete=complete, unbounded=unbounded, memory_left=memory_left)
    held_back = not complete and not unbounded and memory_left and held <= 100
    assert verdict is (Verdict.HOLD if held_back else Verdict.COMMIT)


@pytest.mark.parametrize("kind", list(FailureKind))
def test_a_failure_has_its_status(kind):
    assert failure_status(kind) == {"timeout": 504, "overload": 503}.get(str(kind), 502)


def test_the_default_statuses_are_the_contracts():
    assert FallbackPolicy().statuses == {401, 403, 404, 408, 429, *range(500, 600)}


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("status", [200, 204, 304, 400, 401, 403, 404, 408, 409, 410, 429, 499, 500, 501, 503, 599])
def test_an_answer_is_a_failure_by_its_status_and_its_source(role, status):
    listed = status in (401, 403, 404, 408, 429)
    assert is_failure(FallbackPolicy(), role, status) is (status >= 500 or (role is Role.TARGET and listed))
    assert is_failure(FallbackPolicy(statuses=frozenset()), role, status) is (status >= 500)
