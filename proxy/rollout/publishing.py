"""Tells the sidecars' live pages how the rollout does, and brings the orders given there into the journal.

The journal is all it knows: what it publishes is read there, and an order that it writes there is obeyed like one of
another terminal. So a page that can't be reached, or that says nonsense, can't disturb the controller. An order is
known by its id and written once, however often it is handed out and whoever was killed in between. Neighbours: the
admin API's `desk` is the other side, `orders` decides, `cutover rollout start` runs this beside the controller.
"""

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from proxy.rollout.http import Endpoint, Refusal, Unreachable
from proxy.rollout.journal import Journal, JournalError, Kind
from proxy.rollout.orders import Order, OrderKind
from proxy.rollout.record import order_as_json
from proxy.rollout.status import read_status
from proxy.rollout.time_source import TimeSource
from proxy.tasks import TaskKeeper

_PATH: Final = "/rollout/controller"
_JSON: Final = {"Content-Type": "application/json"}
_EVERY_S: Final = 1.0
_LOOK_S: Final = 0.2  # whether the journal has news
_AFTER_REFUSAL_S: Final = 15.0
_ENDED: Final = "the rollout has ended"


class Publisher:
    """Publishes one journal's newest run. `say` is given a line for people."""

    def __init__(
        self, journal: Journal, pages: Sequence[Endpoint], time: TimeSource, say: Callable[[str], None]
    ) -> None:
        self._journal = journal
        self._pages = pages
        self._time = time
        self._say = say
        self._name = ""
        self._tasks = TaskKeeper()
        self._said: dict[str, str] = {}
        self._taken: dict[str, dict[str, int]] = {page.name: {} for page in pages}  # order's id → its entry

    def __repr__(self) -> str:
        return f"<Publisher {self._name} to {len(self._pages)} pages>"

    def start(self) -> None:
        """Publish to each page until `close`; the journal must have a run."""
        self._name = _name_of(self._journal)
        for page in self._pages:
            self._tasks.spawn(self._follow(page))

    async def close(self) -> None:
        """Publish the end, if anything was published, and close what is open."""
        await self._tasks.close()
        if self._name:
            await asyncio.gather(*(self._publish(page, ended=True) for page in self._pages))
        for page in self._pages:
            await page.close()

    async def _follow(self, page: Endpoint) -> None:
        while True:
            seen = self._journal.newest_id()
            wait_s = await self._publish(page)
            until = self._time.monotonic() + wait_s
            while self._time.monotonic() < until:
                await self._time.sleep(_LOOK_S)
                if wait_s == _EVERY_S and self._journal.newest_id() != seen:
                    break

    async def _publish(self, page: Endpoint, *, ended: bool = False) -> float:
        """Publish once and take the orders; how long to wait then."""
        try:
            said = self._publication(page.name, ended=ended)
            answer = await page.ask_json("PUT", _PATH, body=json.dumps(said).encode(), headers=_JSON)
            self._said.pop(page.name, None)
            for number in said["answers"]:
                del self._taken[page.name][number]
            self._take(page, answer.get("orders") if isinstance(answer, dict) else None)
        except Unreachable as error:
            self._complain(page, str(error))
        except (Refusal, JournalError) as error:
            self._complain(page, str(error))
            return _AFTER_REFUSAL_S
        except Exception as error:  # noqa: BLE001 - the task's boundary: a page is not worth a rollout
            self._complain(page, repr(error))
            return _AFTER_REFUSAL_S
        return _EVERY_S

    def _complain(self, page: Endpoint, why: str) -> None:
        """Say it once, until it is published again."""
        if self._said.get(page.name) != why:
            self._said[page.name] = why
            self._say(f"the live page of {page.name} does not show this rollout: {why}")

    def _publication(self, page: str, *, ended: bool) -> dict[str, Any]:
        answers = {number: self._answer_to(entry) for number, entry in self._taken[page].items()}
        known = {number: answer for number, answer in answers.items() if answer is not None}
        if ended:
            known = {number: answer or {"obeyed": False, "why": _ENDED} for number, answer in answers.items()}
        return {"controller": self._name, "status": read_status(self._journal), "answers": known, "ended": ended}

    def _answer_to(self, entry: int) -> dict[str, Any] | None:
        for answer in self._journal.entries(Kind.ANSWER, run=self._journal.newest_run(), after=entry):
            if answer.data["order"] == entry:
                return {"obeyed": bool(answer.data["obeyed"]), "why": str(answer.data["why"])}
        return None

    def _take(self, page: Endpoint, orders: object) -> None:
        """Write the orders that are new into the journal."""
        taken = self._taken[page.name]
        for document in orders if isinstance(orders, list) else ():
            with suppress(KeyError, TypeError, ValueError):  # what is no order is not obeyed
                number = str(document["id"])[:64]
                if number not in taken:
                    taken[number] = self._entry_of(number) or self._write(number, read_order(document), page.name)

    def _entry_of(self, number: str) -> int | None:
        """The entry of an order that is in the journal already: whoever wrote it was killed before it was answered."""
        entries = self._journal.entries(Kind.ORDER, run=self._journal.newest_run())
        return next((entry.id for entry in entries if entry.data.get("page_order") == number), None)

    def _write(self, number: str, order: Order, page: str) -> int:
        facts = {**order_as_json(order), "page_order": number, "from": f"the live page of {page}"}
        return self._journal.add(Kind.ORDER, self._time.wall(), facts)


def _name_of(journal: Journal) -> str:
    """A name that its controllers have in common, for a new one is to take the place of one that was killed."""
    first = next(journal.entries())
    return hashlib.sha256(f"{first.at!r} {json.dumps(first.data)}".encode()).hexdigest()[:16]


def read_order(document: Mapping[str, Any]) -> Order:
    """The order that a page hands out. Raises KeyError, TypeError or ValueError for what is none."""
    check, reason, stage = document.get("check"), document.get("reason"), document.get("stage")
    texts = all(one is None or isinstance(one, str) for one in (check, reason))
    if not texts or not (stage is None or isinstance(stage, int)):
        raise TypeError("not an order")
    return Order(OrderKind(document["order"]), check, reason, document.get("keep") is True, stage)
