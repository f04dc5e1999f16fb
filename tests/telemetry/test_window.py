"""Rolling figures, on a clock of our own."""

import pytest

from proxy.telemetry.labels import LabelSpace
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.window import RollingWindow

SPACE = LabelSpace("postgresql", "image_service", ("get", "upload"), routes={"get": "split", "upload": "legacy"})
START = 1000.0


@pytest.fixture
def metrics():
    made = Metrics()
    made.apply(SPACE)
    return made


@pytest.fixture
def window(metrics):
    made = RollingWindow(lambda: metrics.state)
    made.tick(START)
    return made


def ask(window, now, source="image_service", operation="get", name="1m"):
    return window.figures(now)[source][operation][name]


def run(window, metrics, start, end, per_second=1, seconds=0.04, outcome="ok"):
    """Traffic second by second, ticking as the loop would."""
    now = start
    while now < end:
        now += 1
        for _ in range(per_second):
            metrics.attempted("image_service", "get", outcome, seconds)
            metrics.answered("image_service", "get", 200, seconds)
        window.tick(now)
    return now


def test_every_pair_that_can_occur_has_figures_before_any_traffic(window):
    figures = window.figures(START)
    pairs = {(source, operation) for source, operations in figures.items() for operation in operations}
    assert pairs == set(SPACE.pairs())
    assert figures["image_service"]["get"]["5m"] == {
        "requests": 0,
        "answered": 0,
        "rate": 0.0,
        "error_ratio": None,
        "p50_ms": None,
        "p95_ms": None,
        "p99_ms": None,
        "fallbacks": {},
    }


def test_a_window_that_is_not_full_covers_the_time_since_the_start(window, metrics):
    now = run(window, metrics, START, START + 10, per_second=2)
    figures = ask(window, now)
    assert (figures["requests"], figures["answered"], figures["rate"]) == (20, 20, 2.0)


def test_the_present_interval_counts_at_once(window, metrics):
    metrics.attempted("image_service", "get", "ok", 0.04)
    assert ask(window, START + 0.5)["requests"] == 1
    assert ask(window, START + 0.5)["rate"] == 2.0


def test_what_is_older_than_the_window_is_forgotten(window, metrics):
    now = run(window, metrics, START, START + 60, per_second=10, outcome="timeout")
    now = run(window, metrics, now, now + 65, per_second=2)
    figures = ask(window, now)
    assert figures["error_ratio"] == 0.0
    assert figures["rate"] == pytest.approx(2.0)
    assert ask(window, now, name="5m")["requests"] == 600 + 130
    now = run(window, metrics, now, now + 305, per_second=0)
    assert ask(window, now, name="5m")["requests"] == 0


def test_counts_from_before_the_first_tick_are_not_in_any_window(metrics):
    metrics.attempted("image_service", "get", "ok", 0.04)
    window = RollingWindow(lambda: metrics.state)
    assert ask(window, START)["rate"] == 0.0
    window.tick(START)
    metrics.attempted("image_service", "get", "ok", 0.04)
    assert ask(window, START + 10)["requests"] == 1


def test_errors_are_failed_attempts_over_attempts_that_were_not_cancelled(window, metrics):
    for outcome, count in {"ok": 5, "timeout": 2, "status_503": 1, "cancelled": 10}.items():
        for _ in range(count):
            metrics.attempted("image_service", "get", outcome, 0.01)
    figures = ask(window, START + 1)
    assert figures["requests"] == 8
    assert figures["error_ratio"] == 0.375


def test_a_confirmed_404_is_no_error_and_a_confirmed_500_is_one(window, metrics):
    for status in (404, 404, 500):
        metrics.attempted("image_service", "get", f"status_{status}", 0.01)
    metrics.fell_back("get", "status_404", "confirmed")
    metrics.fell_back("get", "status_404", "served")
    metrics.fell_back("get", "status_500", "confirmed")
    figures = ask(window, START + 1)
    assert figures["error_ratio"] == round(2 / 3, 6)
    assert figures["fallbacks"] == {"status_404": 2, "status_500": 1}


def test_fallbacks_are_shown_with_the_target_and_the_suppressed_are_not(window, metrics):
    metrics.fell_back("get", "timeout", "served")
    metrics.fell_back("get", "timeout", "failed")
    metrics.fell_back("get", "reset", "suppressed")
    figures = window.figures(START + 1)
    assert figures["image_service"]["get"]["1m"]["fallbacks"] == {"timeout": 2}
    assert figures["postgresql"]["get"]["1m"]["fallbacks"] == {}
    assert figures["postgresql"]["upload"]["1m"]["fallbacks"] == {}


def test_quantiles_are_interpolated_inside_the_bucket(window, metrics):
    for _ in range(100):
        metrics.attempted("image_service", "get", "ok", 0.06)  # the bucket from 50 to 80 ms
    figures = ask(window, START + 1)
    assert figures["p50_ms"] == pytest.approx(65.0)
    assert figures["p95_ms"] == pytest.approx(78.5)
    assert figures["p99_ms"] == pytest.approx(79.7)


def test_quantiles_forget_too(window, metrics):
    now = run(window, metrics, START, START + 30, seconds=4.0)
    now = run(window, metrics, now, now + 65, seconds=0.0005)
    assert ask(window, now)["p99_ms"] <= 1.0


def test_copies_are_taken_when_due_however_often_it_ticks(window):
    for step in range(4000):
        window.tick(START + step / 10)
    assert repr(window) == "<RollingWindow copies=61 covered_s=300>"


def test_after_a_pause_the_rate_is_over_the_time_that_is_covered(window, metrics):
    metrics.attempted("image_service", "get", "ok", 0.04)
    window.tick(START + 100)
    assert ask(window, START + 100)["requests"] == 1
    assert ask(window, START + 100)["rate"] == 0.01
    window.tick(START + 160)
    assert ask(window, START + 160)["requests"] == 0


def test_a_renamed_source_keeps_its_figures_under_its_old_name(window, metrics):
    metrics.attempted("image_service", "get", "ok", 0.04)
    metrics.apply(LabelSpace("postgresql", "images", ("get",)))
    figures = window.figures(START + 1)
    assert figures["image_service"]["get"]["1m"]["requests"] == 1
    assert figures["images"]["get"]["1m"]["requests"] == 0
