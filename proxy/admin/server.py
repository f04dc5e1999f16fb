"""The admin port: listens where it is told and serves the app.

Neighbours: `api` makes the app, the composition root starts and stops this.
"""

import contextlib
import ipaddress
import socket
from pathlib import Path
from typing import Final

from aiohttp import web

from proxy.settings.addresses import ListenAddress, TcpAddress, UnixAddress

_SHUTDOWN_S: Final = 1.0


class AdminServer:
    """Serves one aiohttp app on a TCP address, on a Unix socket, or on a socket that was passed in."""

    def __init__(self, app: web.Application, address: ListenAddress, passed: socket.socket | None = None) -> None:
        """`passed` is bound and listens; it then counts, and `address` does not."""
        self._app = app
        self._configured = address
        self._passed = passed
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen. Raises OSError when the address can't be had; nothing is left open then."""
        runner = web.AppRunner(self._app, access_log=None, handle_signals=False, shutdown_timeout=_SHUTDOWN_S)
        await runner.setup()
        try:
            await self._site(runner).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner

    async def stop(self) -> None:
        """Stop listening and end open connections, those in use after a moment."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
            self._remove_socket()

    @property
    def port(self) -> int | None:
        """The TCP port that is listened on, also when the system chose it; None for a Unix socket."""
        for address in self._runner.addresses if self._runner is not None else ():
            if isinstance(address, tuple):
                return int(address[1])
        return None

    @property
    def address(self) -> str:
        """Where it listens, or is to listen, as a configuration writes it."""
        if self._passed is not None:
            name = self._passed.getsockname()
            return str(TcpAddress(*name[:2])) if isinstance(name, tuple) else f"unix:{name}"
        port = self.port
        if isinstance(self._configured, TcpAddress) and port is not None:
            return str(TcpAddress(self._configured.host, port))
        return str(self._configured)

    def _site(self, runner: web.AppRunner) -> web.BaseSite:
        if self._passed is not None:
            return web.SockSite(runner, self._passed)
        address = self._configured
        if isinstance(address, TcpAddress):
            return web.TCPSite(runner, address.host, address.port)
        return web.UnixSite(runner, address.path)

    def _remove_socket(self) -> None:
        """Leave no path behind that nobody listens on."""
        if self._passed is None and isinstance(self._configured, UnixAddress):
            with contextlib.suppress(OSError):
                Path(self._configured.path).unlink()

    def __repr__(self) -> str:
        state = "listening" if self._runner is not None else "stopped"
        return f"<AdminServer {self._configured} {state} port={self.port}>"


def is_local(address: ListenAddress, passed: socket.socket | None) -> bool:
    """Whether only this machine can reach an admin port that listens there, or on the socket that was passed in."""
    if passed is None:
        return address.is_local
    name = passed.getsockname()
    return not isinstance(name, tuple) or ipaddress.ip_address(name[0].partition("%")[0]).is_loopback
