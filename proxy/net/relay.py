"""The committed answer on its way to the client: its framing, its content as it comes, its end.

Neighbours: `handler` commits an attempt to it and records the end; `attempt` holds what has come; `downstream`
writes.
"""

from typing import TYPE_CHECKING

from proxy.core.fields import EVENT_STREAM
from proxy.core.framing import last_chunk
from proxy.core.heads import ResponseHead
from proxy.core.rewrite import response_bytes, upgrade_lines
from proxy.net.attempt import Attempt

if TYPE_CHECKING:
    from proxy.net.downstream import Downstream


class Relay:
    """Passes one response on.

    `bytes_out` counts content; `ends_by_close` says that only the end of the connection will tell the client the
    end of the message.
    """

    __slots__ = ("_chunked", "_downstream", "_head", "attempt", "bytes_out", "ends_by_close")

    def __init__(self, attempt: Attempt, head: ResponseHead, downstream: "Downstream") -> None:
        self.attempt = attempt
        self._head = head
        self._downstream = downstream
        self._chunked = False
        self.ends_by_close = False
        self.bytes_out = 0

    def __repr__(self) -> str:
        return f"<Relay of {self.attempt!r} {self.bytes_out} bytes>"

    @property
    def source(self) -> str:
        """The name of the source that answers."""
        return self.attempt.plan.name

    @property
    def status(self) -> int:
        """The status that the client sees."""
        return self._head.status

    def choose_framing(self, minor: int) -> bytes:
        """Settle how a client of HTTP/1.`minor` will know the end of the message (RFC 9112 section 6).

        Returns the line that says so, empty when the upstream's own fields do.
        """
        head, body = self._head, self.attempt.body
        if head.status == 101:
            return upgrade_lines(head.noted[b"upgrade"][0])
        if body is None or head.content_length is not None:
            return b""
        if self.attempt.complete and not body.trailers:
            return b"Content-Length: %d\r\n" % self.attempt.held
        if minor:
            self._chunked = True
            return b"Transfer-Encoding: chunked\r\n"
        self.ends_by_close = True
        return b""

    def start(self, lines: bytes, progress_s: float) -> None:
        """Write the head, `lines` added, and the content that is here. `progress_s` bounds each wait for more."""
        attempt, head = self.attempt, self._head
        pieces = attempt.take()
        parts = [response_bytes(head, b"", lines)]
        self._add_framed(parts, pieces)
        if attempt.complete:
            if self._chunked:
                parts.append(self._ending())
            self._downstream.write_parts(parts)
            return
        attempt.progress_s = progress_s
        attempt.resume()
        self._downstream.write_parts(parts)
        if self._downstream.stalled:  # perhaps since before this answer
            attempt.pause()
        if head.status == 101:
            self._downstream.start_tunnel()

    def pass_on(self) -> None:
        """Write what has come since."""
        attempt = self.attempt
        parts: list[bytes] = []
        self._add_framed(parts, attempt.take())
        if not attempt.complete:
            attempt.expect_progress()
        elif self._chunked:
            parts.append(self._ending())
        if parts:
            self._downstream.write_parts(parts)

    def _add_framed(self, parts: list[bytes], pieces: list[bytes]) -> None:
        for piece in pieces:
            self.bytes_out += len(piece)
            if self._chunked:
                parts += (b"%x\r\n" % len(piece), piece, b"\r\n")
            else:
                parts.append(piece)

    def _ending(self) -> bytes:
        return last_chunk(self.attempt.body.trailers if self.attempt.body is not None else [])


def is_unbounded(head: ResponseHead) -> bool:
    """Whether the response flows for as long as it likes: an event stream or a tunnel."""
    return head.status == 101 or bool(head.told & EVENT_STREAM)
