"""`plain_proxy.py PORT PERCENTAGE TIMEOUT LEGACY TARGET [CA]`: a reverse proxy in aiohttp, as plain as can be."""

import asyncio
import ssl
import sys
import zlib

import aiohttp
import uvloop
from aiohttp import web

HOP_BY_HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}


async def serve(port: int, percentage: int, timeout_s: float, urls: list[str], ca_file: str | None) -> None:
    legacy, target = urls
    tls = ssl.create_default_context(cafile=ca_file) if ca_file else True
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60, ssl=tls)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=1, sock_read=timeout_s)
    session = aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False)

    async def send(request: web.Request, url: str, body: bytes) -> aiohttp.ClientResponse:
        fields = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        return await session.request(
            request.method, url + request.raw_path, headers=fields, data=body or None, allow_redirects=False
        )

    async def handle(request: web.Request) -> web.StreamResponse:
        user = request.headers.get("X-User-Id", "")
        first = target if zlib.crc32(user.encode()) % 100 < percentage else legacy
        body = await request.read()
        try:
            answer = await send(request, first, body)
            if answer.status >= 500 and first is target:
                answer.release()
                answer = await send(request, legacy, body)
        except (aiohttp.ClientError, TimeoutError):
            answer = await send(request, legacy, body)
        async with answer:
            response = web.StreamResponse(status=answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in HOP_BY_HOP:
                    response.headers.add(name, value)
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
            await response.write_eof()
            return response

    app = web.Application(client_max_size=2**30)
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=600)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    given = sys.argv[1:]
    uvloop.run(serve(int(given[0]), int(given[1]), float(given[2]), given[3:5], given[5] if given[5:] else None))
