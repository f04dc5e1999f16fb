"""`floor_proxy.py PORT UPSTREAM_PORT`: bytes passed through by asyncio, nothing parsed; what any such proxy costs."""

import asyncio
import sys

import uvloop


class Side(asyncio.Protocol):
    """One of two connections; what comes in on one goes out on the other."""

    def __init__(self) -> None:
        self.other: asyncio.Transport | None = None
        self.early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self.early += data
        else:
            self.other.write(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        if self.other is not None:
            self.other.close()


async def serve(port: int, upstream_port: int) -> None:
    loop = asyncio.get_running_loop()
    joining: set[asyncio.Task[None]] = set()

    async def join(client: Side) -> None:
        upstream, side = await loop.create_connection(Side, "127.0.0.1", upstream_port)
        side.other = client.transport  # type: ignore[assignment]
        client.other = upstream
        upstream.write(client.early)

    class Downstream(Side):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            task = loop.create_task(join(self))
            joining.add(task)
            task.add_done_callback(joining.discard)

    server = await loop.create_server(Downstream, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))
