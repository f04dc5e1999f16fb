"""Webhooks: signed, tried again, never waited for."""

import asyncio
import hashlib
import hmac
import json
from typing import Any

from aiohttp import web

from proxy.rollout.hooks import SIGNATURE, Hooks, in_words, sign
from proxy.rollout.plan import Hook
from proxy.rollout.time_source import SystemTime
from tests.rollout.servers import serving

EVENT = {"event": "transition", "phase": "rolled_back", "stage": 1, "percentage": 0, "verdict": "NO_GO", "why": "bad"}


class Quick(SystemTime):
    """Waits a hundredth of what it is told."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 100)


class Receiver:
    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.got: list[tuple[bytes, str | None]] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.got.append((await request.read(), request.headers.get(SIGNATURE)))
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)


async def told(receiver: Receiver, *events: dict[str, Any], **hook: Any) -> list[str]:
    lost: list[str] = []
    async with serving(receiver.answer) as url:
        hooks = Hooks([Hook.model_validate({"url": str(url), "timeout": "300ms", **hook})], Quick(), lost.append)
        for event in events:
            hooks.tell(event)
        await hooks.close()
    return lost


async def test_a_transition_is_posted_and_signed() -> None:
    receiver = Receiver()
    assert await told(receiver, EVENT, secret="hush") == []
    body, signature = receiver.got[0]
    assert json.loads(body) == EVENT
    assert signature is not None
    seconds, _, given = signature.removeprefix("t=").partition(",v1=")
    expected = hmac.new(b"hush", seconds.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(given, expected)


def test_the_signature_is_stable() -> None:
    assert sign("key", 1, b"{}").startswith("t=1,v1=")
    assert sign("key", 1, b"{}") != sign("key", 2, b"{}")


async def test_slack_gets_a_text_and_nothing_is_signed_without_a_secret() -> None:
    receiver = Receiver()
    await told(receiver, EVENT, format="slack")
    body, signature = receiver.got[0]
    assert json.loads(body) == {"text": "cutover rollout: rolled_back (stage 1, 0 %, NO_GO): bad"}
    assert signature is None
    assert in_words({**EVENT, "stage": 0}) == "cutover rollout: rolled_back (0 %, NO_GO): bad"


async def test_a_failure_is_tried_again_a_bounded_number_of_times_and_said() -> None:
    receiver = Receiver(500, 503)
    assert await told(receiver, EVENT) == []
    assert len(receiver.got) == 3
    receiver = Receiver(*[500] * 10)
    lost = await told(receiver, EVENT, retries=2)
    assert len(receiver.got) == 3
    assert "not delivered" in lost[0]


async def test_a_hook_that_says_no_is_not_asked_again() -> None:
    receiver = Receiver(404)
    assert "it answers 404" in (await told(receiver, EVENT))[0]
    assert len(receiver.got) == 1


async def test_events_come_in_their_order() -> None:
    receiver = Receiver(500)
    await told(receiver, *({**EVENT, "number": number} for number in range(5)))
    assert [json.loads(body)["number"] for body, _ in receiver.got] == [0, 0, 1, 2, 3, 4]


async def test_telling_never_waits_and_a_queue_is_bounded() -> None:
    lost: list[str] = []
    hook = Hook.model_validate({"url": "http://127.0.0.1:1", "retries": 0})
    hooks = Hooks([hook], Quick(), lost.append)
    for _ in range(250):
        hooks.tell(EVENT)
    assert len(lost) == 150
    assert repr(hooks) == "<Hooks 1 hooks, 100 waiting>"
    await hooks.close(patience_s=0.05)
