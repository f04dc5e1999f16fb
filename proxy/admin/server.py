"""The admin port: listens where it is told and serves the app.

Neighbours: `api` makes the app, the composition root starts and stops this.
"""

import contextlib
from pathlib import Path
from typing import Final

from aiohttp import web

from proxy.settings.addresses import ListenAddress, TcpAddress, UnixAddress

_SHUTDOWN_S: Final = 1.0


class AdminServer:
    """Serves one aiohttp app on a TCP address or a Unix socket."""

    def __init__(self, app: web.Application, address: ListenAddress) -> None:
        self._address = address
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=_SHUTDOWN_S)
        self._listening = False

    async def start(self) -> None:
        """Listen. Raises OSError when the address can't be had; nothing is left open then."""
        await self._runner.setup()
        try:
            await self._site().start()
        except OSError:
            await self._runner.cleanup()
            raise
        self._listening = True

    async def stop(self) -> None:
        """Stop listening and end open connections, those in use after a moment."""
        was_listening, self._listening = self._listening, False
        await self._runner.cleanup()
        if was_listening:
            self._remove_socket()

    @property
    def port(self) -> int | None:
        """The TCP port that is listened on, also when the system chose it; None for a Unix socket."""
        for address in self._runner.addresses if self._listening else ():
            if isinstance(address, tuple):
                return int(address[1])
        return None

    def _site(self) -> web.BaseSite:
        address = self._address
        if isinstance(address, TcpAddress):
            return web.TCPSite(self._runner, address.host, address.port)
        return web.UnixSite(self._runner, address.path)

    def _remove_socket(self) -> None:
        """Leave no path behind that nobody listens on."""
        if isinstance(self._address, UnixAddress):
            with contextlib.suppress(OSError):
                Path(self._address.path).unlink()

    def __repr__(self) -> str:
        state = "listening" if self._listening else "stopped"
        return f"<AdminServer {self._address} {state} port={self.port}>"
