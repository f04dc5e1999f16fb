"""Figures for tables: short, and never misleading."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.cli.figures import as_count, as_ms, as_rate, as_ratio, as_span


@pytest.mark.parametrize(
    ("show", "number", "text"),
    [
        (as_count, None, "-"),
        (as_count, 0, "0"),
        (as_count, 99999, "99999"),
        (as_count, 123_456, "123k"),
        (as_count, 999_600, "1.0M"),
        (as_count, 123_456_789, "123M"),
        (as_rate, 0.25, "0.2"),
        (as_rate, 999.9, "999.9"),
        (as_rate, 1234.4, "1234"),
        (as_ratio, None, "-"),
        (as_ratio, 0, "0"),
        (as_ratio, 0.000001, "<.01%"),
        (as_ratio, 0.0012, "0.12%"),
        (as_ratio, 0.123, "12.3%"),
        (as_ratio, 0.99999, "100%"),
        (as_ms, 0.42, "0.4"),
        (as_ms, 12.3, "12"),
        (as_ms, 999.6, "1.0s"),
        (as_ms, 12_345, "12s"),
    ],
)
def test_a_figure_is_short(show: Callable[[float | None], str], number: float | None, text: str) -> None:
    assert show(number) == text


@given(st.floats(0, 1e10))
def test_no_figure_is_wider_than_its_column(number: float) -> None:
    assert len(as_count(number)) <= 6
    assert len(as_rate(number)) <= 6
    assert len(as_ratio(min(number, 1.0))) <= 5
    assert len(as_ms(min(number, 9_999_000))) <= 5
    assert as_ratio(min(number, 1.0)) != "0" or number == 0


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (9 * 86400, "9 d")]
)
def test_how_long_ago_is_rough(seconds: float, text: str) -> None:
    assert as_span(seconds) == text
