"""Runs one of the gallery's aiohttp applications as a process, until SIGTERM.

Neighbours: `legacy_api` and `image_service` build the application; `gallery` starts and ends the process.
"""

import asyncio
import logging
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import uvloop
from aiohttp import web

AppFactory = Callable[[], AbstractAsyncContextManager[web.Application]]


async def _serve(open_app: AppFactory, port: int) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with open_app() as app:
        # Longer than the sidecar keeps a connection idle: this side never closes one that is being reused.
        runner = web.AppRunner(app, access_log=None, keepalive_timeout=75, shutdown_timeout=1)
        await runner.setup()
        try:
            # reuse_port: the gallery holds the port with a socket that never listens, so that nobody else
            # gets it while this process is down and about to come back.
            await web.TCPSite(runner, "127.0.0.1", port, reuse_port=True, backlog=512).start()
            await stopped.wait()
        finally:
            await runner.cleanup()


def serve_until_stopped(open_app: AppFactory, port: int) -> None:
    """Serve on loopback until SIGTERM or SIGINT."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    uvloop.run(_serve(open_app, port))
