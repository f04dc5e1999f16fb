"""The table of `cutover status`: in 80 columns, whatever the sidecar answers."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.cli.screen import Line
from proxy.cli.status_table import not_reachable, status_lines


def figures(requests: int, **others: Any) -> dict[str, Any]:
    times = (
        {"p50_ms": 12.3, "p95_ms": 87.1, "p99_ms": 1423.0}
        if requests
        else dict.fromkeys(("p50_ms", "p95_ms", "p99_ms"))
    )
    base = {"requests": requests, "rate": requests / 60, "error_ratio": 0.0 if requests else None, "fallbacks": {}}
    return {**base, **times, **others}


STATUS: dict[str, Any] = {
    "version": "0.1.0",
    "revision": "1a2b3c4d5e6f",
    "percentage": 25,
    "enabled": True,
    "override": None,
    "kill_switch": False,
    "breaker": "admitting",
    "ready": True,
    "last_reload": {"result": "applied", "at": 1000.0, "error": None},
    "workers": [{"worker": 0, "revision": "1a2b3c4d5e6f", "connections": 12}],
    "roles": {"legacy": "postgresql", "target": "image_service"},
    "sources": {
        "postgresql": {
            "get": {"1m": figures(600), "5m": figures(3000)},
            "upload": {"1m": figures(0), "5m": figures(0)},
        },
        "image_service": {
            "get": {
                "1m": figures(60, error_ratio=0.005, fallbacks={"timeout": 3}),
                "5m": figures(300, error_ratio=0.02, fallbacks={"timeout": 31, "status_503": 2}),
            },
            "upload": {"1m": figures(0), "5m": figures(0)},
        },
    },
}

EXPECTED = """\
cutover 0.1.0 at http://127.0.0.1:9900                                     ready
rollout     25 %, enabled             revision    1a2b3c4d5e6f
override    none                      kill switch off
breaker     admitting                 workers     1, 12 connections
last reload applied, 3 min ago

last minute        postgresql (legacy)      │      image_service (target)
            reqs    /s   err  p50  p95  p99 │   reqs    /s   err  p50  p95  p99
get          600  10.0     0   12   87 1.4s │     60   1.0 0.50%   12   87 1.4s

last 5 minutes     postgresql (legacy)      │      image_service (target)
            reqs    /s   err  p50  p95  p99 │   reqs    /s   err  p50  p95  p99
get         3000  50.0     0   12   87 1.4s │    300   5.0 2.00%   12   87 1.4s

fallbacks in 5 minutes
get       timeout 31 (3 in 1m), status_503 2 (0 in 1m)

idle      upload"""


def plain(lines: list[Line]) -> str:
    return "\n".join("".join(text for text, _ in line).rstrip() for line in lines)


def styles(lines: list[Line]) -> dict[str, str]:
    return {text.strip(): style for line in lines for text, style in line if style}


def shown(**changes: Any) -> list[Line]:
    return status_lines({**STATUS, **changes}, "http://127.0.0.1:9900", 1190.0)


def test_the_table_fits_80_columns() -> None:
    assert plain(shown()) == EXPECTED


def test_what_needs_attention_is_coloured() -> None:
    found = styles(shown())
    assert (found["0.50%"], found["2.00%"], found["enabled"], found["admitting"]) == ("warn", "bad", "good", "good")
    troubled = shown(
        enabled=False,
        ready=False,
        kill_switch=True,
        breaker="rejecting",
        override={"percentage": 0, "enabled": False},
        last_reload={"result": "rejected", "at": 1185.0, "error": "c.yaml:3: rolout: unknown key\nsecond"},
        workers=[{"revision": "a", "connections": 1}, {"revision": "b", "connections": 2}],
    )
    found = styles(troubled)
    assert found["not enabled"] == found["not ready"] == found["0 %, enabled false"] == found[", 2 revisions"] == "warn"
    assert found["rejecting"] == found["rejected"] == found["ON: all to legacy"] == "bad"
    assert found["c.yaml:3: rolout: unknown key"] == found["second"] == "bad"


def test_without_requests_it_says_so() -> None:
    assert plain(shown(sources={})).endswith("no requests in the last 5 minutes")


def test_a_wide_terminal_has_room_for_long_names() -> None:
    sources = {"postgresql": {"operation_with_a_name": {"1m": figures(1), "5m": figures(1)}}}
    status = {**STATUS, "sources": sources}
    assert "operatio…" in plain(status_lines(status, "http://a", 0.0))
    assert "operation_with_a_name" in plain(status_lines(status, "http://a", 0.0, 120))


def test_control_characters_do_not_reach_the_terminal() -> None:
    lines = shown(revision="\x1b[2J", last_reload={"result": "rejected", "error": "\x1b]0;x\x07"})
    assert "\x1b" not in plain(lines)
    assert "\x1b" not in plain(not_reachable("http://a", 0.0, "\x1b[2J"))


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**400)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(key=st.sampled_from(sorted(STATUS)), value=ANYTHING)
def test_a_field_of_another_shape_is_no_failure(key: str, value: object) -> None:
    plain(shown(**{key: value}))


@pytest.mark.parametrize("key", sorted(STATUS))
def test_a_missing_field_is_no_failure(key: str) -> None:
    status = {name: value for name, value in STATUS.items() if name != key}
    assert plain(status_lines(status, "http://a", 0.0))
