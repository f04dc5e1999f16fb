"""`cutover verify --via http`: the two APIs compared, as users see them, with no access to a database.

For each list (one for each user, or a single one) both sides are walked; ids, their order and the listed items must be
the same; then each item is fetched from both and compared field by field. Memory is one list's ids and digests.
What differs is listed and fetched once more, after a delay, before it counts. Neighbours: `api`, `findings`.
"""

import asyncio
import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import aiohttp

from proxy.migration.api import Api, ApiAddress
from proxy.migration.compare import Difference, show_both
from proxy.migration.errors import MigrationFailed
from proxy.migration.findings import Doubt, Findings, Kind, Verdict
from proxy.migration.mapping import Http
from proxy.migration.migrate import PATIENCE_S, first_failure
from proxy.migration.second_look import SecondLook
from proxy.migration.values import JsonNumber
from proxy.migration.verify import Onlooker

_SCOPE: Final = "list"
_GETS_AT_ONCE: Final = 16
_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """What to compare. `users` empty: one list has everything."""

    legacy: ApiAddress
    target: ApiAddress
    shape: Http
    users: tuple[str, ...] = ()
    ignore: frozenset[str] = frozenset()
    patience_s: float = PATIENCE_S
    parallel: int = 4


@dataclass(frozen=True, slots=True)
class Listing:
    """One side's list: each id's place and a digest of what was listed."""

    digests: dict[str, bytes]

    def places(self, ids: set[str]) -> dict[str, int]:
        """Where these ids are, counted among themselves."""
        return {item_id: place for place, item_id in enumerate(each for each in self.digests if each in ids)}


class HttpVerification:
    """One comparison of two APIs."""

    def __init__(self, legacy: Api, target: Api, options: HttpOptions, findings: Findings, look: Onlooker) -> None:
        self._legacy = legacy
        self._target = target
        self._options = options
        self._findings = findings
        self._look = look
        self._gate = asyncio.Semaphore(_GETS_AT_ONCE)

    def __repr__(self) -> str:
        return f"<HttpVerification: {self._findings}>"

    async def run(self, sample: int | None, delay_s: float) -> None:
        """Compare all, or the items of randomly chosen lists until there are `sample`. Raises MigrationFailed."""
        second = SecondLook(self._examine, self._findings, delay_s, self._look.doubted)
        scopes: list[str | None] = list(self._options.users) or [None]
        if sample is not None:
            random.shuffle(scopes)
        self._look.begin(float(sample or 0))
        waiting = iter(scopes)

        async def work() -> None:
            for scope in waiting:
                left = None if sample is None else sample - self._findings.compared
                if left is not None and left <= 0:
                    return
                await self._compare_scope(scope, left, second)

        try:
            async with asyncio.TaskGroup() as tasks:
                # a sample is counted as it goes: side by side, several would each take what is left
                for _ in range(1 if sample is not None else self._options.parallel):
                    tasks.create_task(work())
            await second.settle()
            self._look.compared(self._findings)
        except* MigrationFailed as group:
            raise first_failure(group) from None
        finally:
            await second.cancel()

    async def _compare_scope(self, scope: str | None, most: int | None, second: SecondLook) -> None:
        lists = await self._both_lists(scope)
        ids = list(dict.fromkeys((*lists[0].digests, *lists[1].digests)))
        if most is not None:
            ids = random.sample(ids, min(most, len(ids)))
        verdicts = await self._judge(ids, lists)
        doubts = [
            Doubt((item_id,), {_SCOPE: {"S": scope}}, verdict)
            for item_id, verdict in zip(ids, verdicts, strict=True)
            if verdict is not None
        ]
        self._findings.compared += len(ids) - sum(doubt.verdict.kind is Kind.EXTRA for doubt in doubts)
        self._look.compared(self._findings)
        await second.add(doubts)

    async def _both_lists(self, scope: str | None) -> tuple[Listing, Listing]:
        legacy, target = await asyncio.gather(self._list(self._legacy, scope), self._list(self._target, scope))
        return legacy, target

    async def _list(self, api: Api, scope: str | None) -> Listing:
        digests: dict[str, bytes] = {}
        async for items in api.pages(scope):
            for item in items:
                item_id = item.get(self._options.shape.id)
                if isinstance(item_id, str):
                    digests[str(item_id)] = _digest(_without(item, self._options.ignore))
        return Listing(digests)

    async def _examine(self, doubts: Sequence[Doubt]) -> list[Verdict | None]:
        by_scope: dict[str | None, list[str]] = {}
        for doubt in doubts:
            by_scope.setdefault(doubt.item_key[_SCOPE]["S"], []).append((doubt.key or ("",))[0])
        found: dict[tuple[str | None, str], Verdict | None] = {}
        for scope, ids in by_scope.items():
            verdicts = await self._judge(ids, await self._both_lists(scope))
            found |= {(scope, item_id): verdict for item_id, verdict in zip(ids, verdicts, strict=True)}
        return [found[doubt.item_key[_SCOPE]["S"], (doubt.key or ("",))[0]] for doubt in doubts]

    async def _judge(self, ids: Sequence[str], lists: tuple[Listing, Listing]) -> list[Verdict | None]:
        common = lists[0].digests.keys() & lists[1].digests.keys()
        places = lists[0].places(common), lists[1].places(common)

        async def judge(item_id: str) -> Verdict | None:
            async with self._gate:
                legacy, target = await asyncio.gather(self._legacy.get(item_id), self._target.get(item_id))
            listed = tuple(_listed_difference(item_id, lists, places))
            if legacy is None and target is None:
                return Verdict(Kind.DIFFERENT, listed) if listed else None
            if legacy is None or target is None:
                return Verdict(Kind.EXTRA if legacy is None else Kind.MISSING)
            differences = (*json_differences(legacy, target, self._options.ignore), *listed)
            return Verdict(Kind.DIFFERENT, differences) if differences else None

        return list(await asyncio.gather(*(judge(item_id) for item_id in ids)))


def _listed_difference(
    item_id: str, lists: tuple[Listing, Listing], places: tuple[dict[str, int], dict[str, int]]
) -> Iterator[Difference]:
    legacy, target = (side.digests.get(item_id) for side in lists)
    if legacy is None or target is None:
        if legacy is not target:
            yield Difference("(list)", *("present" if side else "absent" for side in (legacy, target)))
        return
    if legacy != target:
        yield Difference("(as listed)", legacy.hex(), target.hex())
    if places[0][item_id] != places[1][item_id]:
        yield Difference("(place in the list)", places[0][item_id], places[1][item_id])


def json_differences(
    legacy: dict[str, Any], target: dict[str, Any], ignore: frozenset[str], prefix: str = ""
) -> Iterator[Difference]:
    """Where two JSON objects differ, by dotted field: numbers by value, all else exactly, order of keys apart."""
    for name in dict.fromkeys((*legacy, *target)):
        field = f"{prefix}{name}"
        if field in ignore:
            continue
        one, other = legacy.get(name), target.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            yield from json_differences(one, other, ignore, f"{field}.")
        elif (name in legacy) != (name in target):
            yield Difference(field, *(("present", "absent") if name in legacy else ("absent", "present")))
        elif json_canonical(one) != json_canonical(other):
            yield Difference(field, *show_both(_shown(one), _shown(other)))


def json_canonical(value: Any) -> Any:  # noqa: ANN401 - JSON
    """A JSON value so that what means the same is equal, and nothing else is: true is not 1, nor "1"."""
    if isinstance(value, JsonNumber):
        try:
            return "number", Decimal(value)
        except InvalidOperation:
            return "number", str(value)
    if isinstance(value, dict):
        return "object", {name: json_canonical(each) for name, each in value.items()}
    if isinstance(value, list):
        return "list", [json_canonical(each) for each in value]
    return type(value).__name__, value


def _shown(value: Any) -> Any:  # noqa: ANN401 - JSON
    """With small whole numbers as numbers again; others keep their digits as text."""
    if isinstance(value, JsonNumber):
        return int(value) if value.lstrip("-").isdigit() and len(value) <= 15 else str(value)
    if isinstance(value, dict):
        return {name: _shown(each) for name, each in value.items()}
    return [_shown(each) for each in value] if isinstance(value, list) else value


def _without(item: dict[str, Any], ignore: frozenset[str], prefix: str = "") -> dict[str, Any]:
    return {
        name: _without(value, ignore, f"{prefix}{name}.") if isinstance(value, dict) else value
        for name, value in item.items()
        if f"{prefix}{name}" not in ignore
    }


def _digest(item: dict[str, Any]) -> bytes:
    def shown(value: Any) -> Any:  # noqa: ANN401 - JSON
        if isinstance(value, JsonNumber):
            try:
                return {"number": format(Decimal(value).normalize(), "f")}
            except InvalidOperation:
                return {"number": str(value)}
        if isinstance(value, dict):
            return {"object": {name: shown(each) for name, each in value.items()}}
        return [shown(each) for each in value] if isinstance(value, list) else value

    return hashlib.blake2b(json.dumps(shown(item), sort_keys=True).encode(), digest_size=8).digest()


async def run_http_verification(
    options: HttpOptions, findings: Findings, look: Onlooker, *, sample: int | None, delay_s: float
) -> float:
    """Compare into `findings`; how many seconds it took. Raises MigrationFailed."""
    began_s = asyncio.get_running_loop().time()
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        sides = [
            Api(address, options.shape, session, options.patience_s) for address in (options.legacy, options.target)
        ]
        await HttpVerification(sides[0], sides[1], options, findings, look).run(sample, delay_s)
    return asyncio.get_running_loop().time() - began_s
