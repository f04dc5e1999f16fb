"""Figures in at most five characters, for tables; None, where there is none, is a dash. Pure."""

from typing import Final

_NONE: Final = "-"
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_DAY_S: Final = 86400


def as_count(number: float | None) -> str:
    """`0`, `99999`, `123k`, `1.2M`."""
    if number is None:
        return _NONE
    if number < 1e5:
        return f"{number:.0f}"
    if number < 999_500:
        return f"{number / 1e3:.0f}k"
    return f"{number / 1e6:.1f}M" if number < 1e8 else f"{number / 1e6:.0f}M"


def as_rate(number: float | None) -> str:
    """`0.2`, `999.9`, `1234`."""
    return f"{number:.1f}" if number is not None and number < 999.95 else as_count(number)


def as_ratio(ratio: float | None) -> str:
    """`0`, `<.01%`, `0.12%`, `12.3%`, `100%`; what is not 0 is never shown as 0."""
    if ratio is None:
        return _NONE
    percent = ratio * 100
    if percent == 0:
        return "0"
    if percent < 0.01:
        return "<.01%"
    if percent < 9.995:
        return f"{percent:.2f}%"
    return f"{percent:.1f}%" if percent < 99.95 else f"{percent:.0f}%"


def as_ms(milliseconds: float | None) -> str:
    """Milliseconds in four characters: `0.4`, `12`, `999`; from a second on `1.2s`, `12s`."""
    if milliseconds is None:
        return _NONE
    if milliseconds < 9.95:
        return f"{milliseconds:.1f}"
    if milliseconds < 999.5:
        return f"{milliseconds:.0f}"
    seconds = milliseconds / 1000
    return f"{seconds:.1f}s" if seconds < 9.95 else f"{seconds:.0f}s"


def as_span(seconds: float) -> str:
    """How long ago, roughly: `3 s`, `12 min`, `5 h`, `9 d`."""
    seconds = max(seconds, 0.0)
    if seconds < 2 * _MINUTE_S:
        return f"{seconds:.0f} s"
    if seconds < 2 * _HOUR_S:
        return f"{seconds / _MINUTE_S:.0f} min"
    return f"{seconds / _HOUR_S:.0f} h" if seconds < 2 * _DAY_S else f"{seconds / _DAY_S:.0f} d"
