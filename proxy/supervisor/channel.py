"""One end of the private socket between the supervisor and a worker, on an event loop.

Neighbours: `messages` knows the bytes, `process` and `proxy.worker` each hold an end.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Self, cast

from proxy.supervisor.messages import Decoder, Message, encode


class Channel(asyncio.Protocol):
    """Sends messages, and calls back for each that comes and once at the end.

    `on_end` comes when the other side is gone or the channel is closed, after the last message.
    """

    def __init__(self, on_message: Callable[[Message], None], on_end: Callable[[], None]) -> None:
        self._on_message = on_message
        self._on_end = on_end
        self._decoder = Decoder()
        self._transport: asyncio.Transport | None = None
        self._ended = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Channel {'ended' if self._ended.is_set() else 'open'}>"

    @classmethod
    async def open(cls, sock: socket.socket, on_message: Callable[[Message], None], on_end: Callable[[], None]) -> Self:
        """Take over one end of a connected pair."""
        loop = asyncio.get_running_loop()
        _, channel = await loop.create_unix_connection(lambda: cls(on_message, on_end), sock=sock)
        return channel

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        for message in self._decoder.feed(data):
            self._on_message(message)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio names it
        """See asyncio.Protocol."""
        self._ended.set()
        self._on_end()

    def send(self, message: Message) -> None:
        """Send, if the other side is still there; never waits."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(encode(message))

    async def close(self) -> None:
        """Send what is not sent yet, and end."""
        if self._transport is not None:
            self._transport.close()
            await self._ended.wait()
