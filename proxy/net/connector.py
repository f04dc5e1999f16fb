"""Opens connections to one upstream: resolve, race the addresses, and shake hands.

Every exception of the libraries below is turned into `ConnectFailed` here, at the edge: nothing of a request
has been sent when it is raised. Neighbour: `pool`, which decides when to connect.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Final, TypeVar

import aiohappyeyeballs

from proxy.core.model import FailureKind
from proxy.settings.addresses import UpstreamUrl

_ADDRESSES_FRESH_S: Final = 10.0
_STREAM: Final = socket.SOCK_STREAM
_TCP: Final = socket.IPPROTO_TCP
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)
_LATE_S: Final = 0.1  # beyond this a timer is late because the process was
_HAPPY_EYEBALLS_DELAY_S: Final = 0.25  # RFC 8305 section 5

P = TypeVar("P", bound=asyncio.BaseProtocol)


class ConnectFailed(Exception):
    """No connection could be made; `kind` is connect_error or tls_error, and nothing was sent."""

    def __init__(self, kind: FailureKind, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


class _Patience:
    """Ends a timeout's scope when its time is up, but not because this process is late.

    An event loop runs its timers before it looks at its sockets: after a pause of the process, a connection that has
    long been made would be given up. When the timer is late, the sockets get a look first, once.
    """

    __slots__ = ("_due", "_loop", "_scope", "_spared", "_timer")

    def __init__(self, scope: asyncio.Timeout, seconds: float) -> None:
        self._scope = scope
        self._spared = False
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time() + seconds
        self._timer = self._loop.call_at(self._due, self._pass)

    def _pass(self) -> None:
        now = self._loop.time()
        if self._spared or now - self._due <= _LATE_S:
            self._scope.reschedule(now)
        else:
            self._spared = True
            self._timer = self._loop.call_at(now + _LATE_S, self._pass)

    def end(self) -> None:
        """Stop the clock."""
        self._timer.cancel()


class Connector:
    """Opens connections to one upstream address, trying all that its name resolves to (RFC 8305)."""

    __slots__ = ("_addresses", "_clock", "_resolved_at", "_server_name", "_timeout_s", "_tls", "_url")

    def __init__(
        self,
        url: UpstreamUrl,
        timeout_s: float,
        clock: Callable[[], float],
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
    ) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._clock = clock
        self._tls = tls
        self._server_name = server_name or url.host
        self._addresses: list[aiohappyeyeballs.AddrInfoType] = []
        self._resolved_at = float("-inf")

    def __repr__(self) -> str:
        return f"<Connector {self._url}>"

    async def open(self, factory: Callable[[], P]) -> P:
        """Connect and return the protocol that `factory` made. Raises ConnectFailed within the timeout."""
        try:
            async with asyncio.timeout(None) as scope:
                patience = _Patience(scope, self._timeout_s)
                try:
                    return await self._open(factory)
                finally:
                    patience.end()
        except TimeoutError as error:
            self._forget_addresses()
            raise ConnectFailed(FailureKind.CONNECT_ERROR, "connecting took too long") from error
        except (ssl.SSLError, ssl.CertificateError) as error:
            raise ConnectFailed(FailureKind.TLS_ERROR, str(error)) from error
        except (OSError, UnicodeError, ValueError) as error:
            self._forget_addresses()
            kind = FailureKind.TLS_ERROR if self._tls and self._connected(error) else FailureKind.CONNECT_ERROR
            raise ConnectFailed(kind, str(error)) from error

    @staticmethod
    def _connected(error: Exception) -> bool:
        """Whether the peer hung up on a handshake rather than refusing the connection."""
        return isinstance(error, ConnectionResetError | ConnectionAbortedError)

    async def _open(self, factory: Callable[[], P]) -> P:
        loop = asyncio.get_running_loop()
        if self._url.socket_path:
            _, protocol = await loop.create_unix_connection(factory, self._url.socket_path)
            return protocol
        sock = await aiohappyeyeballs.start_connection(
            await self._resolve(), happy_eyeballs_delay=_HAPPY_EYEBALLS_DELAY_S
        )
        try:
            if self._tls is None:
                _, protocol = await loop.create_connection(factory, sock=sock)
            else:
                _, protocol = await loop.create_connection(
                    factory, sock=sock, ssl=self._tls, server_hostname=self._server_name
                )
        except BaseException:
            sock.close()
            raise
        return protocol

    async def _resolve(self) -> list[aiohappyeyeballs.AddrInfoType]:
        """Look the name up again every few seconds, so that an upstream that moves is followed."""
        now = self._clock()
        if not self._addresses or now - self._resolved_at > _ADDRESSES_FRESH_S:
            found = await asyncio.get_running_loop().getaddrinfo(
                self._url.host, self._url.port, type=_STREAM, proto=_TCP
            )
            self._addresses = [info for info in found if info[0] in _FAMILIES]
            self._resolved_at = now
        return self._addresses

    def _forget_addresses(self) -> None:
        self._addresses = []
