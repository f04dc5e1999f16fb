"""The staged rollout on the admin port: its controller publishes here, people look and give orders.

| endpoint | who |
| --- | --- |
| `PUT /rollout/controller` | the controller: its state and answers to orders; is told of orders |
| `GET /rollout/controller` | anybody: the state, and how long ago it was heard |
| `POST /rollout/orders` | people, by the live page: pause, resume, promote, abort; answered when the controller has |

The first and the last are changes, and pass the same guard. What is published is taken as it is, within bounds of
size and of the fields the page needs. Neighbours: `desk` keeps both sides, `api` registers this.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from aiohttp import web

from proxy.admin.desk import Answer, Desk, Publication
from proxy.admin.page import OBSERVER
from proxy.admin.problems import Refusal

DESK: Final = web.AppKey("desk", Desk)
MOST_PUBLISHED_BYTES: Final = 256 << 10
ORDERS: Final = ("pause", "resume", "promote", "abort")
_TEXT: Final = 500
_NAME: Final = 80

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def publish(request: web.Request) -> web.Response:
    """Take a publication; the answer holds the orders that wait."""
    said = read_publication(await _document(request, MOST_PUBLISHED_BYTES))
    orders = request.app[DESK].publish(said)
    request.app[OBSERVER].wake()
    return web.json_response({"orders": orders})


async def show(request: web.Request) -> web.Response:
    """Tell the state of the rollout."""
    shown = request.app[DESK].shown()
    if shown is None:
        raise Refusal(404, "no controller has told of a rollout here")
    return web.json_response(shown)


async def order(request: web.Request) -> web.Response:
    """Give an order: 200 obeyed, 409 refused."""
    wish = read_order(await _document(request, None))
    answer = await request.app[DESK].give(wish)
    if not answer.obeyed:
        raise Refusal(409, answer.why)
    return web.json_response({"obeyed": True, "why": answer.why})


async def _document(request: web.Request, most_bytes: int | None) -> dict[str, Any]:
    """The JSON object of a body; longer than `most_bytes` (or what the application takes) is a 413."""
    if request.content_type != "application/json":
        raise Refusal(415, "the body must be application/json")
    bounded = request if most_bytes is None else request.clone(client_max_size=most_bytes)
    try:
        document = json.loads(await bounded.read(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise Refusal(400, "the body is not valid JSON") from None
    if not isinstance(document, dict):
        raise Refusal(400, "the body must be a JSON object")
    return document


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def read_publication(document: Mapping[str, Any]) -> Publication:
    """Read what a controller says: what the page builds on must have its type. Raises Refusal."""
    status = document.get("status")
    if not isinstance(status, dict) or not _is_text(document.get("controller"), _NAME):
        raise Refusal(400, "a publication needs controller and status")
    checks = status.get("checks")
    fits = (
        _is_text(status.get("phase"), _NAME)
        and isinstance(status.get("stage"), int)
        and isinstance(status.get("percentage"), int)
        and isinstance(checks, list)
        and all(isinstance(check, dict) for check in checks)
    )
    if not fits:
        raise Refusal(400, "a status has phase, stage, percentage and checks")
    answers = document.get("answers", {})
    if not isinstance(answers, dict):
        raise Refusal(400, "answers must be an object")
    ended = document.get("ended", False) is True
    return Publication(document["controller"], status, {key: _answer(one) for key, one in answers.items()}, ended)


def _answer(document: object) -> Answer:
    if not isinstance(document, dict) or not isinstance(document.get("why"), str):
        raise Refusal(400, "an answer has obeyed and why")
    return Answer(document.get("obeyed") is True, document["why"])


def read_order(document: Mapping[str, Any]) -> dict[str, Any]:
    """Read what somebody wants: nothing unknown, nothing guessed. Raises Refusal."""
    unknown = document.keys() - {"order", "stage", "check", "reason", "keep"}
    if unknown:
        raise Refusal(400, f"unknown key {json.dumps(min(unknown)[:_NAME])}")
    word, stage = document.get("order"), document.get("stage")
    if word not in ORDERS:
        raise Refusal(400, f"order must be one of {', '.join(ORDERS)}")
    if stage is not None and (isinstance(stage, bool) or not isinstance(stage, int)):
        raise Refusal(400, "stage must be a whole number")
    check, reason = document.get("check"), document.get("reason")
    if (check is None) != (reason is None) or (check is not None and word != "promote"):
        raise Refusal(400, "check and reason go together, and are for promote")
    if check is not None and not (_is_text(check, _NAME) and _is_text(reason, _TEXT)):
        raise Refusal(400, f"a check has up to {_NAME} characters and a reason up to {_TEXT}")
    keep = document.get("keep", False)
    if not isinstance(keep, bool) or (keep and word != "abort"):
        raise Refusal(400, "keep is true or false, and for abort")
    return {"order": word, "stage": stage, "check": check, "reason": reason, "keep": keep}


def _is_text(value: object, most: int) -> bool:
    return isinstance(value, str) and len(value.strip()) > 0 and len(value) <= most
