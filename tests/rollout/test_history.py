"""Increases over sidecars: restarts, gaps, newcomers, windows; and what is no reading at all."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.rollout.history import History
from proxy.rollout.reading import NotReadable, Reading, Sample, read_samples
from proxy.rollout.scrape import read_text
from proxy.telemetry.labels import LabelSpace
from proxy.telemetry.metrics import Metrics

KEY = ("cutover_attempts_total", "t", "get", "ok")


def reading(count: float) -> Reading:
    return Reading({KEY: count}, 10, enabled=True, revisions=frozenset({"r"}))


def increase(history: History, window_s: float = 1e9) -> float:
    return history.span(window_s).increase.get(KEY, 0.0)


def test_the_first_reading_is_a_baseline() -> None:
    history = History(1e9)
    history.add(0, {"a": reading(1000)})
    assert increase(history) == 0
    history.add(5, {"a": reading(1010), "b": reading(500)})
    assert increase(history) == 10
    history.add(10, {"a": reading(1010), "b": reading(507)})
    assert increase(history) == 17


def test_a_restart_counts_from_nothing() -> None:
    history = History(1e9)
    for at, count in enumerate((100, 110, 4, 9)):
        history.add(at, {"a": reading(count)})
    assert increase(history) == 10 + 4 + 5


def test_a_gap_is_made_up_for_when_it_is_over() -> None:
    history = History(1e9)
    history.add(0, {"a": reading(100)})
    history.add(5, {})
    history.add(10, {"a": reading(130)})
    assert increase(history) == 30


def test_a_window_is_what_happened_within_it() -> None:
    history = History(60)
    for tick in range(100):
        history.add(tick * 5, {"a": reading(tick * 10)})
    assert increase(history, 60) == 120
    assert history.span(60).seconds == 60
    assert history.latest().increase[KEY] == 10
    assert increase(history, 5) == 10


def test_a_stage_begins_with_what_was_seen_last() -> None:
    history = History(60)
    history.add(0, {"a": reading(0)})
    history.add(5, {"a": reading(50)})
    history.begin()
    assert increase(history) == 0
    history.add(10, {"a": reading(53)})
    assert increase(history) == 3


def test_ticks_that_are_late_leave_no_window_empty() -> None:
    history = History(1.0)
    for tick in range(50):
        history.add(tick * 1.04, {"a": reading(tick * 10)})
        if tick:
            assert increase(history, 1.0) == 10
            assert history.latest().increase[KEY] == 10


def test_nothing_yet() -> None:
    assert History(60).span(60).increase == {}
    assert History(60).latest().seconds == 0


def test_long_windows_with_short_ticks_stay_small() -> None:
    history = History(3600)
    for tick in range(20_000):
        history.add(tick * 0.5, {"a": reading(tick)})
    assert len(history._copies) < 500
    assert increase(history, 3600) == pytest.approx(7200, abs=40)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 50)), min_size=1, max_size=50))
def test_nothing_is_counted_twice_or_negative(steps: list[tuple[bool, int]]) -> None:
    history, count, total = History(1e9), 100, 0
    history.add(0, {"a": reading(count)})
    for at, (restart, more) in enumerate(steps, 1):
        before = count
        count = more if restart else count + more
        total += more if not restart or more < before else more - before
        history.add(at, {"a": reading(count)})
    assert increase(history) == total


def sample(name: str, value: float, **labels: str) -> Sample:
    return Sample(name, labels, value)


GOOD = [
    sample("cutover_rollout_percentage", 10),
    sample("cutover_rollout_enabled", 1),
    sample("cutover_config_info", 1, revision="abc"),
]


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_impossible_values_make_no_reading(value: float) -> None:
    wrong = sample("cutover_attempts_total", value, source="t", operation="get", outcome="ok")
    with pytest.raises(NotReadable, match="cutover_attempts_total"):
        read_samples([*GOOD, wrong])


def test_missing_labels_and_missing_gauges_make_no_reading() -> None:
    with pytest.raises(NotReadable, match="has no label"):
        read_samples([*GOOD, sample("cutover_attempts_total", 1, source="t")])
    for left_out in range(3):
        with pytest.raises(NotReadable, match="no sidecar's metrics"):
            read_samples(GOOD[:left_out] + GOOD[left_out + 1 :])


def test_a_real_scrape_is_read() -> None:
    metrics = Metrics("1", "3.11")
    metrics.apply(LabelSpace("postgresql", "image_service", ("get",), revision="abc", percentage=10, enabled=True))
    metrics.attempted("image_service", "get", "ok", 0.05)
    metrics.answered("image_service", "get", 200, 1.0)
    found = read_text(metrics.expose()[0].decode())
    assert (found.percentage, found.enabled, found.revisions) == (10, True, frozenset({"abc"}))
    assert found.counters["cutover_attempts_total", "image_service", "get", "ok"] == 1
    bucket = "cutover_attempt_duration_seconds_bucket"
    assert [found.counters[bucket, "image_service", "get", le] for le in ("0.03", "0.05", "+Inf")] == [0, 1, 1]
    assert found.counters[bucket, "postgresql", "get", "1.0"] == 0


@pytest.mark.parametrize(
    "text", ["", "cutover_rollout_percentage{\n", "<html>\n", "cutover_rollout_percentage x\n", "a 1"]
)
def test_garbage_is_not_read(text: str) -> None:
    with pytest.raises(NotReadable):
        read_text(text)
