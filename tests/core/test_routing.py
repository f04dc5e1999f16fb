"""Which operation a request is, and which source it goes to first."""

import itertools

import pytest

from proxy.core.model import NOTHING_SENT, OTHER_OPERATION, Decision, FailureKind, Reason, Role, Route, status_label
from proxy.core.routing import OTHER, Operation, OperationTable, RolloutPolicy, choose_source, effective_percentage

TABLE = OperationTable(
    [
        Operation("special", ("GET",), "/images/special"),
        Operation("get", ("GET",), "/images/{id}"),
        Operation("list", ("GET",), "/images"),
        Operation("update", ("PUT", "PATCH"), "/images/{id}", Route.LEGACY),
        Operation("tag", ("GET", "HEAD"), "/images/{id}/tags/{tag}.json"),
        Operation("dotted", ("POST",), "/a.b+c/{x}"),
    ]
)
ROUTES = [
    ("GET", "/images", "list"),
    ("HEAD", "/images", "list"),
    ("GET", "/images/", "other"),
    ("GET", "/images/1", "get"),
    ("HEAD", "/images/1", "get"),
    ("GET", "/images/special", "special"),
    ("HEAD", "/images/special", "special"),
    ("GET", "/images/special/", "other"),
    ("PUT", "/images/special", "update"),
    ("PATCH", "/images/1", "update"),
    ("POST", "/images/1", "other"),
    ("get", "/images/1", "other"),
    ("OPTIONS", "/images/1", "other"),
    ("GET", "/images/1/", "other"),
    ("GET", "/images//", "other"),
    ("GET", "//images/1", "other"),
    ("GET", "/images//1", "other"),
    ("GET", "/Images/1", "other"),
    ("GET", "images/1", "other"),
    ("GET", "/", "other"),
    ("GET", "*", "other"),
    ("GET", "/images/.", "other"),
    ("GET", "/images/..", "other"),
    ("GET", "/images/...", "get"),
    ("GET", "/images/.a", "get"),
    ("GET", "/images/..a", "get"),
    ("GET", "/images/a..", "get"),
    ("GET", "/images/%2e", "other"),
    ("GET", "/images/%2E%2e", "other"),
    ("GET", "/images/a%2Eb", "other"),
    ("GET", "/images/a%2fb", "other"),
    ("GET", "/images/a%2Fb", "other"),
    ("GET", "/images/a%5cb", "other"),
    ("GET", "/images/a%5Cb", "other"),
    ("GET", "/images/a%00", "other"),
    ("GET", "/images/%00", "other"),
    ("GET", "/images/%20", "get"),
    ("GET", "/images/%252e", "get"),
    ("GET", "/images/a%2", "get"),
    ("GET", "/images/a\\b", "get"),
    ("GET", "/images/\xff", "get"),
    ("GET", "/images/a;b=c", "get"),
    ("GET", "/images/a\n", "get"),
    ("GET", "/images/1\n", "get"),
    ("GET", "/images/1/tags/x.json", "tag"),
    ("GET", "/images/1/tags/x.jsonx", "other"),
    ("GET", "/images/../tags/x.json", "other"),
    ("GET", "/images/1/tags/.json", "other"),
    ("POST", "/a.b+c/1", "dotted"),
    ("POST", "/aXb+c/1", "other"),
    ("POST", "/a.bbc/1", "other"),
]


@pytest.mark.parametrize(("method", "path", "name"), ROUTES)
def test_a_request_is_the_first_operation_that_fits(method, path, name):
    assert TABLE.match(method.encode(), path.encode("latin-1")).name == name


def test_what_fits_no_operation_goes_to_legacy():
    assert OperationTable([]).match(b"GET", b"/") is OTHER
    assert (OTHER.name, OTHER.route) == (OTHER_OPERATION, Route.LEGACY)
    assert TABLE.operations[-1] is OTHER
    assert repr(TABLE) == "<OperationTable special, get, list, update, tag, dotted, other>"


@pytest.mark.parametrize(
    ("whole", "own", "effective"), [(0, None, 0), (0, 100, 0), (30, None, 30), (30, 0, 0), (30, 70, 70), (100, 5, 5)]
)
def test_an_operations_own_percentage_applies_unless_the_whole_is_0(whole, own, effective):
    policy = RolloutPolicy(enabled=True, percentage=whole)
    assert effective_percentage(policy, Operation("get", percentage=own)) == effective


POLICY = {
    "enabled": True,
    "percentage": 50,
    "always_target": frozenset({b"vip"}),
    "always_legacy": frozenset({b"vip", b"shy"}),
}
# policy changes, route, user, bucket, forced -> role, reason; each row differs from the one before by what decides.
LADDER = [
    ({"kill_switch": True, "enabled": False}, "target", b"vip", 0, "target", "legacy", "kill_switch"),
    ({"kill_switch": True, "percentage": 100}, "split", b"vip", 0, "target", "legacy", "kill_switch"),
    ({"enabled": False, "percentage": 100}, "target", b"vip", 0, "target", "legacy", "disabled"),
    ({"percentage": 0}, "target", b"shy", 99, "legacy", "target", "operation"),
    ({"percentage": 100}, "legacy", b"vip", 0, "target", "legacy", "operation"),
    ({"percentage": 0}, "split", b"shy", 99, "target", "target", "forced"),
    ({"percentage": 100}, "split", b"vip", 0, "legacy", "legacy", "forced"),
    ({"percentage": 0}, "split", b"vip", 99, None, "target", "listed"),
    ({"percentage": 100}, "split", b"shy", 0, None, "legacy", "listed"),
    ({"percentage": 0}, "split", b"u", 0, None, "legacy", "percentage"),
    ({"percentage": 0}, "split", None, None, None, "legacy", "percentage"),
    ({"percentage": 100}, "split", b"u", 99, None, "target", "percentage"),
    ({"percentage": 100}, "split", None, None, None, "target", "percentage"),
    ({}, "split", None, None, None, "legacy", "anonymous"),
    ({"anonymous_by_address": True}, "split", None, 49, None, "target", "anonymous"),
    ({"anonymous_by_address": True}, "split", None, 50, None, "legacy", "anonymous"),
    ({}, "split", b"u", 49, None, "target", "bucket"),
    ({}, "split", b"u", 50, None, "legacy", "bucket"),
    ({"percentage": 1}, "split", b"u", 0, None, "target", "bucket"),
    ({"percentage": 99}, "split", b"u", 99, None, "legacy", "bucket"),
]


@pytest.mark.parametrize(("changes", "route", "user", "bucket", "forced", "role", "reason"), LADDER)
def test_the_first_rule_that_applies_decides(changes, route, user, bucket, forced, role, reason):
    policy = RolloutPolicy(**(POLICY | changes))
    operation = Operation("op", route=Route(route))
    decision = choose_source(policy, operation, user, bucket, Role(forced) if forced else None)
    assert decision == Decision(Role(role), Reason(reason), bucket)


def test_every_reason_but_the_breakers_is_in_the_table():
    assert {row[-1] for row in LADDER} == {str(reason) for reason in Reason} - {"breaker_open"}


def test_the_default_policy_sends_everybody_to_legacy():
    for user, forced in itertools.product((None, b"u"), (None, Role.TARGET)):
        assert choose_source(RolloutPolicy(), Operation("op"), user, 0, forced).role is Role.LEGACY


def test_labels_are_the_contracts():
    assert status_label(503) == "status_503"
    assert {FailureKind.CONNECT_ERROR, FailureKind.TLS_ERROR, FailureKind.OVERLOAD} == NOTHING_SENT


def test_the_paths_remembered_are_bounded_and_mean_the_same():
    table = OperationTable([Operation("get", ("GET",), "/images/{id}"), Operation("put", ("PUT",), "/images/{id}")])
    for number in [*range(3000), *range(3000)]:
        assert table.match(b"GET", b"/images/%d" % number).name == "get"
        assert table.match(b"HEAD", b"/images/%d/x" % number) is OTHER
    assert table.match(b"PUT", b"/images/1").name == "put"
    assert table.match(b"GET", b"/images/" + b"x" * 300).name == "get"
    assert all(len(seen) <= 1024 for seen in table._seen.values())
    assert not any(len(path) > 256 for seen in table._seen.values() for path in seen)
