"""Bounds how many fallbacks ask legacy at once: an outage of the target must not become one of PostgreSQL.

Neighbour: `handler`, whose fallbacks enter here and leave when their attempt ends.
"""

from collections import deque

from proxy.net.attempt import Attempt, Phase


class FallbackGate:
    """Lets `limit` attempts in; the others wait in order, each within its own deadline."""

    __slots__ = ("_inside", "_limit", "_waiting")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._inside: set[Attempt] = set()
        self._waiting: deque[Attempt] = deque()

    def __repr__(self) -> str:
        return f"<FallbackGate {len(self._inside)}/{self._limit} inside, {len(self._waiting)} waiting>"

    def enter(self, attempt: Attempt) -> None:
        """Open the attempt now, or as soon as there is room."""
        if len(self._inside) < self._limit:
            self._inside.add(attempt)
            attempt.open()
        else:
            self._waiting.append(attempt)

    def leave(self, attempt: Attempt) -> None:
        """Make room; an attempt that never got in only gives up its place in the queue."""
        if attempt not in self._inside:
            return
        self._inside.discard(attempt)
        while self._waiting and len(self._inside) < self._limit:
            following = self._waiting.popleft()
            if following.phase is not Phase.ENDED:
                self._inside.add(following)
                following.open()
