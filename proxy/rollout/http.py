"""One HTTP endpoint, asked with bounded patience and bounded answers; every failure becomes one exception.

No proxy of the environment is used and no redirect followed: a token must go nowhere else. Neighbours: observers,
stores and hooks ask.
"""

import asyncio
import json
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
from yarl import URL

from proxy.settings.addresses import ListenAddress, TcpAddress, UpstreamUrl

_LARGEST_ANSWER_BYTES: Final = 64 << 20
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not bound


class Unreachable(Exception):
    """Nobody answers there, or not as it should; the text is one short reason. Nobody knows what was done."""


class Refusal(Exception):
    """It says no: `status` is its HTTP status and the text its reason."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class Endpoint:
    """One place that is asked again and again. `async with` it."""

    def __init__(
        self, url: UpstreamUrl, token: str | None = None, timeout_s: float = 5.0, *, ca_file: str | None = None
    ) -> None:
        self.name = str(url)
        self._base = url.base_path
        self._url = url
        self._token = token
        self._timeout_s = timeout_s
        self._ca_file = ca_file  # whom to believe, instead of everybody that the system does
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"<Endpoint {self.name} {'open' if self._session else 'idle'}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close its connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def ask_json(self, method: str, path: str, **sent: Any) -> Any:  # noqa: ANN401 - whatever is answered
        """The JSON that is answered, as with `ask`."""
        data = await self.ask(method, path, **sent)
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            raise Unreachable("what it answers is no JSON") from None

    async def ask(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> bytes:
        """The body that is answered with a 2xx. Raises Unreachable or Refusal."""
        async with self._guarded(timeout_s):
            return await self._exchange(method, path, body, self._with_token(headers))

    async def ask_fields(self, path: str, headers: Mapping[str, str]) -> Mapping[str, str]:
        """The header fields that a GET is answered with, whatever its status. Raises Unreachable."""
        async with (
            self._guarded(None),
            self._opened().get(self._at(path), headers=self._with_token(headers), allow_redirects=False) as response,
        ):
            return response.headers

    @asynccontextmanager
    async def _guarded(self, timeout_s: float | None) -> AsyncIterator[None]:
        """Within the time that there is; the library's exceptions become ours."""
        try:
            async with asyncio.timeout(timeout_s or self._timeout_s):
                yield
        except TimeoutError:
            raise Unreachable("no answer in time") from None
        except aiohttp.ClientConnectorError as error:
            number = error.os_error.errno  # asyncio has words of its own for it, with an address in them
            raise Unreachable(os.strerror(number).lower() if number else "can't connect") from error
        except (aiohttp.ClientError, ValueError) as error:
            raise Unreachable(f"it breaks off or does not speak HTTP ({type(error).__name__})") from error
        except OSError as error:
            raise Unreachable((error.strerror or str(error)).lower()) from error

    def _with_token(self, headers: Mapping[str, str] | None) -> dict[str, str]:
        authorization = {} if self._token is None else {"Authorization": f"Bearer {self._token}"}
        return {**(headers or {}), **authorization}

    def _at(self, path: str) -> URL:
        return URL(f"{self._origin()}{self._base}{path}", encoded=True)

    async def _exchange(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> bytes:
        opened, url = self._opened(), self._at(path)
        async with opened.request(method, url, data=body, headers=headers, allow_redirects=False) as response:
            data = await _bounded(response)
            if response.status // 100 != 2:
                raise Refusal(response.status, _detail(data) or f"it answers {response.status}")
            return data

    def _origin(self) -> str:
        return "http://localhost" if self._url.scheme == "unix" else f"{self._url.scheme}://{self._url.authority}"

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            path = self._url.socket_path
            trust = ssl.create_default_context(cafile=self._ca_file) if self._ca_file else True
            connector = aiohttp.UnixConnector(path) if path else aiohttp.TCPConnector(limit=4, ssl=trust)
            self._session = aiohttp.ClientSession(connector=connector, trust_env=False)
        return self._session


def door_to(listen: ListenAddress) -> UpstreamUrl | None:
    """Where somebody on this machine asks what listens so; None when the system chooses the port."""
    if not isinstance(listen, TcpAddress):
        return UpstreamUrl("unix", "", 0, socket_path=listen.path)
    return UpstreamUrl("http", _EVERYWHERE.get(listen.host, listen.host), listen.port) if listen.port else None


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    pieces = bytearray()
    async for piece in response.content.iter_any():
        pieces += piece
        if len(pieces) > _LARGEST_ANSWER_BYTES:
            raise Unreachable("its answer is too long")
    return bytes(pieces)


def _detail(data: bytes) -> str | None:
    """The reason in a problem+json, in Prometheus' own form, or in Kubernetes'."""
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        return None
    found = (answer.get("detail") or answer.get("error") or answer.get("message")) if isinstance(answer, dict) else None
    return str(found)[:300] if found else None
