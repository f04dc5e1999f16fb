"""What all log lines share: their settings, time stamps, and text that can't break out of its line. Pure."""

import time
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii
from typing import Final, Protocol

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}

# Looked up because formatting costs twice as much; the last one for a fraction that rounds up to 1.
_MILLISECONDS: Final = (*(f".{millisecond:03d}Z" for millisecond in range(1000)), ".999Z")


class LoggingSettings(Protocol):
    """The `logging` section of a configuration, as far as log lines are concerned."""

    @property
    def level(self) -> str:
        """The least severe level of events that is written: debug, info, warning or error."""

    @property
    def access(self) -> str:
        """Which requests get a line: `all`, `fallbacks` or `off`."""

    @property
    def sample(self) -> float:
        """The share (0..1) of requests that get one; fallbacks and 5xx always do."""

    @property
    def format(self) -> str:
        """`json` or `text`."""


@dataclass(frozen=True, slots=True)
class DefaultLogging:
    """The settings in force before a configuration is read."""

    level: str = "info"
    access: str = "all"
    sample: float = 1.0
    format: str = "json"


class Timestamps:
    """RFC 3339 time stamps in UTC with milliseconds; the part that changes once a second is kept."""

    __slots__ = ("_prefix", "_second")

    def __init__(self) -> None:
        self._second = -1
        self._prefix = ""

    def format(self, epoch_s: float) -> str:
        """Write seconds since the epoch as `2026-01-31T23:59:59.999Z` (cut, not rounded)."""
        second = int(epoch_s)
        if second != self._second:
            self._second = second
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        # The addition makes up for a binary fraction just short of its millisecond.
        return self._prefix + _MILLISECONDS[int((epoch_s - second) * 1000 + 0.001)]

    def __repr__(self) -> str:
        return f"<Timestamps {self._prefix}>"


json_string = encode_basestring_ascii
"""A text as a JSON string in ASCII: quotes, control characters, DEL and all above are escaped (in C)."""


def bare(text: str) -> str:
    """Escape a text like `json_string`, without the quotes: for lines that people read."""
    return json_string(text)[1:-1]
