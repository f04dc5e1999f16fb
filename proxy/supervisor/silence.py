"""When a worker counts as hung. Pure: times are given in.

Silence is summed over the supervisor's own looks, and a look that comes late counts only for as long as one that
comes in time: whoever was stopped or starved itself may not blame others. Neighbour: `fleet` looks and kills.
"""

from typing import Final

HUNG_AFTER_S: Final = 5.0
START_WITHIN_S: Final = 20.0
_LONGEST_LOOK_S: Final = 0.5


class Silence:
    """How long one worker has said nothing, as far as the supervisor was awake to hear it."""

    __slots__ = ("_last_look", "seconds")

    def __init__(self, now: float) -> None:
        self._last_look = now
        self.seconds = 0.0

    def __repr__(self) -> str:
        return f"<Silence {self.seconds:.1f}s>"

    def heard(self) -> None:
        """It said something."""
        self.seconds = 0.0

    def look(self, now: float) -> float:
        """Count the time since the last look; returns the silence in seconds."""
        self.seconds += min(now - self._last_look, _LONGEST_LOOK_S)
        self._last_look = now
        return self.seconds
