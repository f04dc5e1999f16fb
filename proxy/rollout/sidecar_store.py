"""The percentage as an override on every one of a list of sidecars, by their admin APIs: on all or on none.

Neighbours: `stores` has the interface, `http` asks.
"""

import asyncio
import json
from collections.abc import Sequence
from typing import Any, Final

from proxy.core.model import Role
from proxy.rollout.decision import Step
from proxy.rollout.http import Endpoint, Refusal, Unreachable
from proxy.rollout.place import InForce
from proxy.rollout.stores import StoreError, routes_of
from proxy.rollout.tally import Layout
from proxy.settings.addresses import UpstreamUrl

_PATCH: Final = "/rollout?persist=false"
_JSON: Final = {"Content-Type": "application/json"}
_TRIES_BACK: Final = 3
_Share = tuple[int, bool]


class SidecarStore:
    """Several admin APIs that are to say the same."""

    def __init__(self, urls: Sequence[UpstreamUrl], token: str | None, timeout_s: float = 5.0) -> None:
        self._endpoints = [Endpoint(url, token, timeout_s) for url in urls]

    def __repr__(self) -> str:
        return f"<SidecarStore of {len(self._endpoints)}>"

    async def read(self) -> InForce:
        """See Store."""
        every = await asyncio.gather(*(self._read_one(endpoint) for endpoint in self._endpoints))
        if len({json.dumps([status.get("roles"), operations], sort_keys=True) for status, operations in every}) > 1:
            raise StoreError("the sidecars do not agree on their sources and operations")
        pairs = list(zip(self._endpoints, every, strict=True))
        status, operations = every[0]
        try:
            names = {role: str(status["roles"][role]) for role in Role}
            routes = routes_of((one["name"], one["route"], one.get("percentage")) for one in operations)
            return InForce(
                places={one.name: _share(answer) for one, (answer, _) in pairs},
                revisions=frozenset(str(answer["revision"]) for answer, _ in every),
                layout=Layout(names, routes),
                kill_switch=any(bool(answer.get("kill_switch")) for answer, _ in every),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(f"what answers there is no admin API ({error!r})") from error

    async def apply(self, step: Step) -> None:
        """See Store."""
        if step.back:
            await self._take_back(step)
        else:
            await self._take_all_or_none(step)

    async def close(self) -> None:
        """See Store."""
        for endpoint in self._endpoints:
            await endpoint.close()

    async def _take_all_or_none(self, step: Step) -> None:
        """One after the other; what was changed before one that fails is changed back."""
        before: list[tuple[Endpoint, _Share, str]] = []
        for endpoint in self._endpoints:
            status, _ = await self._read_one(endpoint)
            try:
                before.append((endpoint, _share(status), str(status["revision"])))
            except (KeyError, TypeError, ValueError) as error:
                raise StoreError(f"{endpoint.name} is no admin API ({error!r})") from error
        for number, (endpoint, _, revision) in enumerate(before):
            try:
                await _patch(endpoint, (step.percentage, step.enabled), revision)
            except (Refusal, Unreachable) as error:
                # The one that failed may have taken it all the same, unless it said no.
                changed = before[: number + (not isinstance(error, Refusal))]
                left = await self._restore(changed)
                raise StoreError(_said(endpoint, error, [one.name for one, _, _ in changed], left)) from error

    async def _restore(self, changed: Sequence[tuple[Endpoint, _Share, str]]) -> list[str]:
        """Undo; the names of those that could not be asked to."""
        tries = (_try_again(endpoint, share) for endpoint, share, _ in changed)
        failures = await asyncio.gather(*tries)
        return [endpoint.name for (endpoint, _, _), failure in zip(changed, failures, strict=True) if failure]

    async def _take_back(self, step: Step) -> None:
        share = (step.percentage, step.enabled)
        failures = await asyncio.gather(*(_try_again(endpoint, share) for endpoint in self._endpoints))
        left = [f"{one.name}: {why}" for one, why in zip(self._endpoints, failures, strict=True) if why]
        if left:
            done = len(self._endpoints) - len(left)
            raise StoreError(f"{done} of {len(self._endpoints)} sidecars are at {step.percentage} %; {'; '.join(left)}")

    async def _read_one(self, endpoint: Endpoint) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """A sidecar's status and its operations."""
        try:
            status, config = await asyncio.gather(
                endpoint.ask_json("GET", "/status"), endpoint.ask_json("GET", "/config")
            )
        except (Refusal, Unreachable) as error:
            raise StoreError(f"{endpoint.name}: {error}") from error
        if not isinstance(status, dict) or not isinstance(config, dict):
            raise StoreError(f"{endpoint.name} is no admin API")
        operations = config.get("operations")
        return status, operations if isinstance(operations, list) else []


def _share(status: dict[str, Any]) -> _Share:
    return int(status["percentage"]), bool(status["enabled"])


async def _patch(endpoint: Endpoint, share: _Share, revision: str | None = None) -> None:
    headers = _JSON if revision is None else {**_JSON, "If-Match": f'"{revision}"'}
    body = json.dumps({"percentage": share[0], "enabled": share[1]}).encode()
    await endpoint.ask("PATCH", _PATCH, body=body, headers=headers)


async def _try_again(endpoint: Endpoint, share: _Share) -> str | None:
    """Patch, several times if need be; why not, or None when done."""
    why = ""
    for _ in range(_TRIES_BACK):
        try:
            await _patch(endpoint, share)
        except (Refusal, Unreachable) as error:
            why = str(error)
        else:
            return None
    return why


def _said(endpoint: Endpoint, error: Exception, changed: list[str], left: list[str]) -> str:
    text = f"{endpoint.name}: {error}; "
    if left:
        return text + f"and {', '.join(left)} could not be changed back: look at it"
    return text + (f"changed back: {', '.join(changed)}" if changed else "nothing was changed")
