"""Bounds how many fallbacks ask legacy at once: an outage of the target must not become one of PostgreSQL.

Neighbour: `handler`, whose fallbacks enter here and leave when their attempt ends.
"""

from proxy.net.attempt import Attempt


class FallbackGate:
    """Lets `limit` attempts in; the others wait in order, each within its own deadline."""

    __slots__ = ("_inside", "_limit", "_waiting")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._inside: set[Attempt] = set()
        self._waiting: dict[Attempt, None] = {}  # in order of arrival

    def __repr__(self) -> str:
        return f"<FallbackGate {len(self._inside)}/{self._limit} inside, {len(self._waiting)} waiting>"

    def change_limit(self, limit: int) -> None:
        """Take over another limit; who is in stays in."""
        self._limit = limit
        self._let_in()

    def enter(self, attempt: Attempt) -> None:
        """Open the attempt now, or as soon as there is room."""
        if len(self._inside) < self._limit:
            self._inside.add(attempt)
            attempt.open()
        else:
            self._waiting[attempt] = None

    def leave(self, attempt: Attempt) -> None:
        """Make room; an attempt that never got in only gives up its place in the queue."""
        self._waiting.pop(attempt, None)
        self._inside.discard(attempt)
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting and len(self._inside) < self._limit:
            following = next(iter(self._waiting))
            del self._waiting[following]
            self._inside.add(following)
            following.open()
