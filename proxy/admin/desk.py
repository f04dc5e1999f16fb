"""Where the controller of a staged rollout, another process, and the people in front of the live page meet.

The controller publishes its state here every second and is told of the orders that wait; it brings their answers with
what it publishes next. Nothing here decides about the rollout. An order lives only as long as the request that gave
it: what nobody has taken by then is withdrawn, so that it can't be obeyed an hour later. It is handed out until it is
answered, and its id lets the controller take it once. Neighbours: `staged` is the HTTP around this, `stream` shows
what is published.
"""

import asyncio
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from proxy.admin.problems import Refusal

HEARD_FOR_S: Final = 10.0
"""A controller that has not published for this long is not there."""

PATIENCE_S: Final = 30.0  # as the command line has: a tick may be under way, and an abort may have to try again
MOST_ORDERS: Final = 8


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an order."""

    obeyed: bool
    why: str


@dataclass(frozen=True, slots=True)
class Publication:
    """What a controller says. Only its successors share the name `controller`; `ended` says that this is its last."""

    controller: str
    status: Mapping[str, Any]
    answers: Mapping[str, Answer] = field(default_factory=dict)
    ended: bool = False


@dataclass(slots=True)
class _Waiting:
    order: dict[str, Any]
    answer: asyncio.Future[Answer]
    taken: bool = False


class Desk:
    """Holds the last publication and the orders that wait. `clock` is monotonic."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._published: Publication | None = None
        self._heard_at = 0.0
        self._waiting: dict[str, _Waiting] = {}
        self.serial = 0

    def __repr__(self) -> str:
        name = "nobody" if self._published is None else self._published.controller
        return f"<Desk of {name}, {len(self._waiting)} orders wait>"

    @property
    def heard_s(self) -> float:
        """Seconds since the controller has published."""
        return self._clock() - self._heard_at

    def publish(self, said: Publication) -> list[dict[str, Any]]:
        """Take what a controller says; returns the orders for it. Raises Refusal when another one is there."""
        before = self._published
        if before is not None and before.controller != said.controller and self._is_there(before):
            raise Refusal(409, f"another rollout is shown here ({before.status.get('plan', 'no plan')})")
        if before is None or before.controller != said.controller:
            self._withdraw_all()
        self._published, self._heard_at = said, self._clock()
        self.serial += 1
        for number, answer in said.answers.items():
            waiting = self._waiting.get(number)
            if waiting is not None and not waiting.answer.done():
                waiting.answer.set_result(answer)
        if said.ended:
            self._withdraw_all()
            return []
        orders = [one for one in self._waiting.values() if not one.answer.done()]
        for one in orders:
            one.taken = True
        return [one.order for one in orders]

    def shown(self) -> dict[str, Any] | None:
        """What the page shows; None when no controller has ever published."""
        said = self._published
        if said is None:
            return None
        return {**said.status, "controller": said.controller, "ended": said.ended, "heard_s": round(self.heard_s, 1)}

    def body(self) -> str:
        """The same as one line of JSON; `null` for none."""
        return json.dumps(self.shown(), separators=(",", ":"))

    async def give(self, order: Mapping[str, Any]) -> Answer:
        """Give the controller an order and wait for its answer. Raises Refusal when there is none to be had."""
        if self._published is None or not self._is_there(self._published):
            raise Refusal(409, "no controller runs: nobody would obey")
        if len(self._waiting) >= MOST_ORDERS:
            raise Refusal(503, "too many orders wait", {"Retry-After": "5"})
        number = secrets.token_hex(8)
        waiting = _Waiting({"id": number, **order}, asyncio.get_running_loop().create_future())
        self._waiting[number] = waiting
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await waiting.answer
        except TimeoutError:
            if waiting.taken:
                raise Refusal(504, "the controller has taken it and not answered: look at what it does") from None
            raise Refusal(504, "the controller did not take it: it is withdrawn") from None
        finally:
            del self._waiting[number]

    def _is_there(self, said: Publication) -> bool:
        return not said.ended and self.heard_s < HEARD_FOR_S

    def _withdraw_all(self) -> None:
        """Nobody obeys these any more."""
        for waiting in self._waiting.values():
            if not waiting.answer.done():
                waiting.answer.set_result(Answer(obeyed=False, why="the controller has ended"))
