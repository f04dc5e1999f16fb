"""What one process holds of bodies, and how much it reads at a time because of it: `limits.buffered_bytes`.

Content is held for two reasons: a fallback may need it, or the peer it was written for is slow to take it. Both
are counted here. When much is held, nothing more is held back for a fallback and every connection reads in small
portions, so that whoever stalls from then on holds little. Neighbours: `handler`, `downstream` and `upstream`
count; the last two read into `view`.
"""

from typing import Final

_LARGE_READ: Final = 256 * 1024
SMALL_READ: Final = 8 * 1024


class BodyMemory:
    """The ledger of held bytes, and the buffer that all connections of an event loop read into, one at a time.

    `held` stays within the limit as long as the limit has room for a small read of each connection:
    that much, though at most half of the limit, is kept free for them. `tight` says that only this reserve is left.
    """

    __slots__ = ("_large", "_low", "_small", "held", "tight", "view")

    def __init__(self, limit_bytes: int, most_connections: int) -> None:
        self._large = memoryview(bytearray(_LARGE_READ))
        self._small = self._large[:SMALL_READ]
        self.view = self._large
        self.held = 0
        self.tight = False
        self._low = 0
        self.set_limit(limit_bytes, most_connections)

    def __repr__(self) -> str:
        return f"<BodyMemory held={self.held} of {self._low}{' tight' if self.tight else ''}>"

    def set_limit(self, limit_bytes: int, most_connections: int) -> None:
        """Take over other limits; what is held already stays held."""
        self._low = limit_bytes - min(limit_bytes // 2, most_connections * SMALL_READ)
        self.add(0)

    def add(self, size: int) -> None:
        """Count `size` bytes more as held; fewer, when negative."""
        self.held += size
        tight = self.held > self._low
        if tight is not self.tight:
            self.tight = tight
            self.view = self._small if tight else self._large
