"""The percentage in a Kubernetes ConfigMap that every sidecar's pod mounts (docs/adr/0010).

Forward only the ConfigMap is written, and the kubelets bring it to the pods within a minute or two: the controller
waits until the sidecars have it. Back, every sidecar is overridden at once by its admin API besides: the override
ends when the file arrives. Names and operations are asked of the sidecars, so that neither the configuration nor its
secrets need be here. Neighbours: `stores` has the interface, `sidecar_store` speaks to the sidecars.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from proxy.rollout.decision import Step
from proxy.rollout.http import Endpoint, Refusal, Unreachable
from proxy.rollout.place import InForce
from proxy.rollout.plan import ConfigMap
from proxy.rollout.sidecar_store import SidecarStore
from proxy.rollout.stores import StoreError
from proxy.settings.addresses import UpstreamUrl

_MERGE: Final = {"Content-Type": "application/merge-patch+json"}
_SWITCH: Final = {"true": True, "false": False}
_Share = tuple[int, bool]


class ConfigMapStore:
    """One ConfigMap, and the sidecars that mount it."""

    def __init__(self, place: ConfigMap, token: str | None, env: Mapping[str, str], timeout_s: float = 5.0) -> None:
        self._place = place
        self._token = token
        self._env = env
        self._timeout_s = timeout_s
        self._account = Path(place.account)
        self._server: Endpoint | None = None

    def __repr__(self) -> str:
        return f"<ConfigMapStore {self._place.namespace or 'here'}/{self._place.name}>"

    async def read(self) -> InForce:
        """See Store."""
        share, _ = await self._read_share()
        async with self._spoken_to(await self._addresses()) as sidecars:
            seen = await sidecars.read()
        return replace(seen, places={f"ConfigMap {self._place.name}": share})

    async def apply(self, step: Step) -> None:
        """See Store."""
        if not step.back:
            await self._write(step)
            return
        failures = await asyncio.gather(self._try_to(self._write(step)), self._try_to(self._override(step)))
        if any(failures):
            in_file, at_once = (why or f"at {step.percentage} %" for why in failures)
            raise StoreError(f"ConfigMap {self._place.name}: {in_file}; the sidecars at once: {at_once}")

    async def close(self) -> None:
        """See Store."""
        if self._server is not None:
            await self._server.close()

    @staticmethod
    async def _try_to(work: Coroutine[None, None, None]) -> str | None:
        try:
            await work
        except StoreError as error:
            return str(error)
        return None

    async def _override(self, step: Step) -> None:
        """Put a step back in force in every sidecar. Raises StoreError, having asked all of them."""
        addresses = await self._addresses()
        failures = await asyncio.gather(*(self._try_to(self._override_one(address, step)) for address in addresses))
        if any(failures):
            raise StoreError("; ".join(why for why in failures if why))

    async def _override_one(self, address: UpstreamUrl, step: Step) -> None:
        """Only where it is not in force already: an override that the file can't catch up with would stay."""
        async with self._spoken_to([address]) as sidecar:
            with suppress(StoreError):
                if set((await sidecar.read()).places.values()) == {(step.percentage, step.enabled)}:
                    return
            await sidecar.apply(step)

    async def _write(self, step: Step) -> None:
        """Write both keys, unless somebody else has written since they were read."""
        share, version = await self._read_share()
        wanted = (step.percentage, step.enabled)
        if share == wanted:
            return
        data = {"percentage": str(step.percentage), "enabled": "true" if step.enabled else "false"}
        body = json.dumps({"metadata": {"resourceVersion": version}, "data": data}).encode()
        await self._ask("PATCH", body)

    async def _read_share(self) -> tuple[_Share, str]:
        """What it says, and which version of it. Raises StoreError."""
        answer = await self._ask("GET")
        try:
            version, data = str(answer["metadata"]["resourceVersion"]), answer["data"]
            written, switch = data["percentage"].strip(), data["enabled"].strip().lower()
        except (KeyError, TypeError, AttributeError):
            raise StoreError(f"ConfigMap {self._place.name} has no keys `percentage` and `enabled`") from None
        percentage = int(written) if written.isascii() and written.isdecimal() and len(written) <= 3 else -1
        if not 0 <= percentage <= 100 or switch not in _SWITCH:
            raise StoreError(
                f"ConfigMap {self._place.name}: expected a percentage from 0 to 100, and enabled true or false"
            )
        return (percentage, _SWITCH[switch]), version

    async def _ask(self, method: str, body: bytes | None = None) -> Any:  # noqa: ANN401 - whatever is answered
        place = self._place
        # Read each time: the kubelet renews it.
        token = await asyncio.to_thread(self._account_text, "token")
        namespace = place.namespace
        if namespace is None:
            namespace = await asyncio.to_thread(self._account_text, "namespace")
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/configmaps/{quote(place.name, safe='')}"
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        if body is not None:
            headers |= _MERGE
        try:
            return await self._opened().ask_json(method, path, body=body, headers=headers)
        except Refusal as error:
            raise StoreError(f"the API server refuses: {error} ({error.status})") from error
        except Unreachable as error:
            raise StoreError(f"the API server: {error}") from error

    def _account_text(self, name: str) -> str:
        try:
            return (self._account / name).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "not text"
            raise StoreError(f"the service account's {name} ({self._account / name}): {why}") from error

    def _opened(self) -> Endpoint:
        if self._server is None:
            url = self._place.api or _server_of(self._env)
            ca_file = str(self._account / "ca.crt") if url.scheme == "https" else None
            self._server = Endpoint(url, timeout_s=self._timeout_s, ca_file=ca_file)
        return self._server

    async def _addresses(self) -> list[UpstreamUrl]:
        """Every sidecar that the name has an address for now. Raises StoreError."""
        url = self._place.sidecars
        try:
            found = await asyncio.get_running_loop().getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise StoreError(f"no sidecar is found by {url.host}: {error.strerror}") from error
        return [replace(url, host=address) for address in sorted({str(each[4][0]) for each in found})]

    @asynccontextmanager
    async def _spoken_to(self, addresses: Sequence[UpstreamUrl]) -> AsyncIterator[SidecarStore]:
        sidecars = SidecarStore(addresses, self._token, self._timeout_s)
        try:
            yield sidecars
        finally:
            await sidecars.close()


def _server_of(env: Mapping[str, str]) -> UpstreamUrl:
    """The API server of the cluster that this runs in. Raises StoreError."""
    try:
        return UpstreamUrl("https", env["KUBERNETES_SERVICE_HOST"], int(env["KUBERNETES_SERVICE_PORT"]))
    except (KeyError, ValueError):
        raise StoreError("this is no pod (KUBERNETES_SERVICE_HOST): set apply.configmap.api") from None
