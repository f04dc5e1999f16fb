"""When a worker that died is replaced. Pure: times are given in.

Neighbour: `fleet` asks at each death.
"""

from typing import Final

FIRST_DELAY_S: Final = 0.1
LONGEST_DELAY_S: Final = 10.0
LONG_LIFE_S: Final = 10.0


class Backoff:
    """At once, unless it keeps dying young: then after a pause that doubles with each early death."""

    __slots__ = ("_next_s",)

    def __init__(self) -> None:
        self._next_s = 0.0

    def __repr__(self) -> str:
        return f"<Backoff next={self._next_s:g}s>"

    def delay_after(self, lived_s: float) -> float:
        """How many seconds to wait with the replacement of one that lived so long."""
        if lived_s >= LONG_LIFE_S:
            self._next_s = 0.0
        delay_s = self._next_s
        self._next_s = min(max(delay_s * 2, FIRST_DELAY_S), LONGEST_DELAY_S)
        return delay_s
