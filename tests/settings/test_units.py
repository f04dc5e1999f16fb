"""Durations and sizes read and write as people do, and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.settings.units import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0.0),
        ("1ms", 0.001),
        ("500ms", 0.5),
        ("5s", 5.0),
        ("1.5s", 1.5),
        ("1m30s", 90.0),
        ("4h", 14400.0),
        ("1h2m3s4ms", 3723.004),
        ("90m", 5400.0),
    ],
)
def test_a_duration_is_read_as_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "5", "s", "5 s", "-5s", "5S", "1s1m", "1d", "5s ", "1_0s", "\u0665s", ".5s", "5.s", "1" * 50 + "s"],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.05, "50ms"), (1, "1s"), (75, "1m15s"), (3600, "1h"), (5400, "1h30m"), (1.25, "1.25s")],
)
def test_a_duration_is_written_in_its_usual_form(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(0, 366 * 24 * 3600 * 1000).map(lambda ms: ms / 1000))
def test_durations_survive_writing_and_reading(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "size"), [("0B", 0), ("512B", 512), ("64KiB", 65536), ("10MiB", 10 << 20), ("1GiB", 1 << 30)]
)
def test_a_size_is_read_as_bytes_and_written_back(text: str, size: int) -> None:
    assert parse_size(text) == size
    assert format_size(size) == text


@pytest.mark.parametrize("text", ["", "64", "64KB", "64kib", "1.5KiB", "-1B", "01B", "1TiB", "1" * 50 + "B"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        parse_size(text)


@given(st.integers(0, 1 << 50))
def test_sizes_survive_writing_and_reading(size: int) -> None:
    assert parse_size(format_size(size)) == size
