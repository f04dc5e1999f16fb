"""Rehearses the way there and back with a cohort of test users, and measures both.

Nothing is broken and nobody else is moved: the cohort stands in `users.target` for as long as it takes to see every
one of them answered by the target, and then until each is answered by legacy again. What was begun and not ended (a
crash) is taken back before the next. Neighbours: `cohort` edits the file, `journal` remembers.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from proxy.rollout.cohort import CohortError, add_cohort, digest_of, remove_cohort, restore
from proxy.rollout.http import Endpoint, Unreachable, door_to
from proxy.rollout.journal import Journal, Kind
from proxy.rollout.plan import Plan
from proxy.rollout.time_source import TimeSource
from proxy.settings.addresses import UpstreamUrl, parse_upstream
from proxy.settings.load import load_settings
from proxy.settings.rollout import UserIdSource
from proxy.settings.schema import Settings

_PATIENCE_S: Final = 15.0
_LOOK_EVERY_S: Final = 0.02
_MOST_USERS: Final = 1000
_SOURCE: Final = "X-Cutover-Source"


class RehearsalFailed(Exception):
    """It did not go there and back; the text says why, and what is left if anything is."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Who goes, by which door (None: where the configuration listens), and what they ask for."""

    users: tuple[str, ...]
    url: str | None
    path: str


async def rehearse(
    plan: Plan, wish: Wish, journal: Journal, time: TimeSource, env: Mapping[str, str]
) -> dict[str, Any]:
    """Rehearse and journal it; what was measured. Raises RehearsalFailed, or ConfigError for the configuration."""
    if plan.apply.file is None:
        raise RehearsalFailed("it needs apply.file: the admin API can't change users.target")
    if not 0 < len(wish.users) <= _MOST_USERS:
        raise RehearsalFailed(f"expected 1 to {_MOST_USERS} users, got {len(wish.users)}")
    path = Path(plan.apply.file)
    try:
        await asyncio.to_thread(_take_back_what_is_left, path, env, journal, time)
        settings = (await asyncio.to_thread(load_settings, path, env)).settings
        return await _there_and_back(path, settings, wish, journal, time, env)
    except CohortError as error:
        raise RehearsalFailed(str(error)) from error


async def _there_and_back(
    path: Path, settings: Settings, wish: Wish, journal: Journal, time: TimeSource, env: Mapping[str, str]
) -> dict[str, Any]:
    digests = [digest_of(user) for user in wish.users]
    async with Endpoint(_door(settings, wish), timeout_s=settings.legacy.timeout) as door:
        sources = _Sources(door, settings, wish)
        await _until(time, lambda: sources.all_at(settings.legacy.name), "before it, every user must be on legacy")
        begun = journal.add(Kind.REHEARSAL, time.wall(), {"ok": False, "begun": True, "digests": digests})
        added = await asyncio.to_thread(add_cohort, path, env, wish.users)
        began, failure, to_target_s = time.monotonic(), None, 0.0
        try:
            await _until(time, lambda: sources.all_at(settings.target.name), "the target did not serve every user")
            to_target_s = time.monotonic() - began
        except RehearsalFailed as error:
            failure = error
        finally:
            if not await asyncio.to_thread(restore, path, env, added):
                await asyncio.to_thread(remove_cohort, path, env, digests)
        began = time.monotonic()
        await _until(time, lambda: sources.all_at(settings.legacy.name), "legacy did not serve every user again")
        to_legacy_s = time.monotonic() - began
    facts = {
        "ok": failure is None,
        "begun_by": begun,
        "users": len(wish.users),
        "to_target_s": round(to_target_s, 4),
        "to_legacy_s": round(to_legacy_s, 4),
    }
    journal.add(Kind.REHEARSAL, time.wall(), {**facts, "why": str(failure) if failure else "there and back"})
    if failure is not None:
        raise failure
    return facts


def _take_back_what_is_left(path: Path, env: Mapping[str, str], journal: Journal, time: TimeSource) -> None:
    last = journal.last(Kind.REHEARSAL)
    if last is not None and last.data.get("begun"):
        remove_cohort(path, env, last.data["digests"])
        facts = {"ok": False, "begun_by": last.id, "why": "it was broken off; its users were taken back"}
        journal.add(Kind.REHEARSAL, time.wall(), facts)


class _Sources:
    """Asks for a user's source, by the way that the configuration tells users apart."""

    def __init__(self, door: Endpoint, settings: Settings, wish: Wish) -> None:
        self._door = door
        self._how = _first_usable(settings.rollout.user_id)
        self._wish = wish
        self.last = ""

    async def all_at(self, name: str) -> bool:
        """Whether every user is answered by the source of this name."""
        for user in self._wish.users:
            fields = await self._door.ask_fields(*self._question(user))
            self.last = fields.get(_SOURCE, "")
            if not self.last:
                raise RehearsalFailed(f"answers do not say {_SOURCE} (is `expose` false, or is this no sidecar?)")
            if self.last != name:
                return False
        return True

    def _question(self, user: str) -> tuple[str, dict[str, str]]:
        path, how = self._wish.path, self._how
        if how.kind == "query":
            mark = "&" if "?" in path else "?"
            return f"{path}{mark}{quote(how.name)}={quote(user, safe='')}", {}
        return path, {"Cookie": f"{how.name}={user}"} if how.kind == "cookie" else {how.name: user}


def _first_usable(sources: tuple[UserIdSource, ...]) -> UserIdSource:
    for source in sources:
        if source.kind != "jwt_claim":
            return source
    raise RehearsalFailed("the configuration knows users only by a token, which a rehearsal can't make")


def _door(settings: Settings, wish: Wish) -> UpstreamUrl:
    if wish.url is not None:
        try:
            return parse_upstream(wish.url)
        except ValueError as error:
            raise RehearsalFailed(f"--url: {error}") from None
    door = door_to(settings.listen)
    if door is None:
        raise RehearsalFailed("the configuration leaves the port to the system: say --url")
    return door


async def _until(time: TimeSource, look: Callable[[], Any], failure: str) -> None:
    """Look until it is so."""
    until, why = time.monotonic() + _PATIENCE_S, ""
    while True:
        try:
            if await look():
                return
        except Unreachable as error:
            why = f" ({error})"
        if time.monotonic() > until:
            raise RehearsalFailed(f"{failure}{why}")
        await time.sleep(_LOOK_EVERY_S)
