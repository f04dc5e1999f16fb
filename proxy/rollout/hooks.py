"""Tells webhooks of every transition, signed, without ever making the rollout wait.

The body of format `json` is the event; `slack` is a `text` that Slack and its like show. With a secret the header
`X-Cutover-Signature: t=SECONDS,v1=HEX` holds HMAC-SHA256 over `SECONDS.BODY`: a receiver compares it and refuses old
seconds. Neighbours: `controller` tells, `http` posts.
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from proxy.rollout.http import Endpoint, Refusal, Unreachable
from proxy.rollout.plan import Hook
from proxy.rollout.time_source import TimeSource
from proxy.tasks import TaskKeeper

SIGNATURE: Final = "X-Cutover-Signature"
_FIRST_WAIT_S: Final = 0.5
_MOST_WAITING: Final = 100
_FLUSH_STEP_S: Final = 0.05


def sign(secret: str, seconds: int, body: bytes) -> str:
    """The signature header's value."""
    digest = hmac.new(secret.encode(), b"%d.%b" % (seconds, body), hashlib.sha256).hexdigest()
    return f"t={seconds},v1={digest}"


def in_words(event: Mapping[str, Any]) -> str:
    """An event in a line, for people."""
    stage = f"stage {event['stage']}, " if event.get("stage") else ""
    return f"cutover rollout: {event['phase']} ({stage}{event['percentage']} %, {event['verdict']}): {event['why']}"


class Hooks:
    """Posts events, each hook's in their order; `lost` is told of those that could not be delivered."""

    def __init__(
        self, hooks: Sequence[Hook], time: TimeSource, lost: Callable[[str], None] = lambda _why: None
    ) -> None:
        self._hooks = hooks
        self._time = time
        self._lost = lost
        self._queues: list[list[Mapping[str, Any]]] = [[] for _ in hooks]
        self._busy = [False] * len(hooks)
        self._tasks = TaskKeeper()

    def __repr__(self) -> str:
        return f"<Hooks {len(self._hooks)} hooks, {sum(map(len, self._queues))} waiting>"

    def tell(self, event: Mapping[str, Any]) -> None:
        """Post it soon; returns at once. The oldest is dropped when a hook does not keep up."""
        for number, queue in enumerate(self._queues):
            queue.append(event)
            if len(queue) > _MOST_WAITING:
                del queue[0]
                self._lost(f"{self._hooks[number].url}: too slow, an event was dropped")
            if not self._busy[number]:
                self._busy[number] = True
                self._tasks.spawn(self._work(number))

    async def close(self, patience_s: float = 5.0) -> None:
        """Wait for what is being posted, but not for long."""
        until = self._time.monotonic() + patience_s
        while any(self._busy) and self._time.monotonic() < until:
            await self._time.sleep(_FLUSH_STEP_S)
        await self._tasks.close()

    async def _work(self, number: int) -> None:
        hook, queue = self._hooks[number], self._queues[number]
        try:
            async with Endpoint(hook.url, timeout_s=hook.timeout) as endpoint:
                while queue:
                    await self._post(hook, endpoint, queue.pop(0))
        finally:
            self._busy[number] = False

    async def _post(self, hook: Hook, endpoint: Endpoint, event: Mapping[str, Any]) -> None:
        shown = {"text": in_words(event)} if hook.format == "slack" else event
        body = json.dumps(shown, allow_nan=False).encode()
        wait_s, why = _FIRST_WAIT_S, ""
        for attempt in range(hook.retries + 1):
            if attempt:
                await self._time.sleep(wait_s)
                wait_s *= 2
            headers = {"Content-Type": "application/json"}
            if hook.secret is not None:
                headers[SIGNATURE] = sign(str(hook.secret), int(self._time.wall()), body)
            try:
                await endpoint.ask("POST", "", body=body, headers=headers)
            except (Unreachable, Refusal) as error:
                why = str(error)
                if isinstance(error, Refusal) and error.status // 100 == 4 and error.status not in (408, 429):
                    break  # it will say no again
            else:
                return
        self._lost(f"{hook.url}: {why}; an event was not delivered")
