"""What operators want changed: to the file if it can be written, above it if not, and in force when it returns.

A rollback is in force before anything else is tried, whatever the disk does. Neighbours: `admin.api` asks through
`control`, `keeper` puts in force, `settings.edit` writes.
"""

import asyncio
from typing import Final

from proxy.admin.control import NotPersistable, RevisionMismatch, RolloutChange, RolloutOutcome
from proxy.settings import edit
from proxy.settings.errors import ConfigError
from proxy.supervisor.keeper import Keeper
from proxy.supervisor.off_loop import off_loop
from proxy.supervisor.rollout_state import (
    Override,
    RolloutState,
    Share,
    is_still,
    keys_to_write,
    on_written,
    share_after,
)
from proxy.tasks import TaskKeeper

_WRITE_WITHIN_S: Final = 2.0
_ORIGIN: Final = "api"
_KILLED: Final = "the kill-switch file exists, so everything goes to legacy all the same"
_NOT_ENABLED: Final = "enabled is false, so nobody moves"
_OVERRIDE: Final = "in force as an override; the configuration file was not changed"
_SLOW: Final = "in force as an override; writing the configuration file takes long, and goes on"
_OVERTAKEN: Final = "overtaken by a later change"


class Changes:
    """Carries out changes of the rollout. One that is written waits for the one before it; a rollback does not."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._tasks = TaskKeeper()

    def __repr__(self) -> str:
        return f"<Changes of {self._keeper!r}>"

    async def change(self, wish: RolloutChange) -> RolloutOutcome:
        """See admin.control.Control.change_rollout."""
        keeper = self._keeper
        async with keeper.lock:
            current = keeper.reading.loaded.revision
            if wish.if_match is not None and wish.if_match != current:
                raise RevisionMismatch(current)
            if wish.persist:
                return self._outcome(persisted=True, notes=await self._write(wish))
            await keeper.override(share_after(keeper.state, wish.percentage, enabled=wish.enabled), _ORIGIN)
            return self._outcome(persisted=False, notes=[_OVERRIDE])

    async def _write(self, wish: RolloutChange) -> list[str]:
        """Write the file and put it in force; the notes are for people. The caller has the lock."""
        keeper = self._keeper
        settled = keeper.state.override
        percentage, enabled = keys_to_write(keeper.state, wish.percentage, enabled=wish.enabled)
        notes = await self._edit(percentage, enabled=enabled, if_match=wish.if_match)
        await self._reload(settled)
        return notes

    async def _edit(self, percentage: int | None, *, enabled: bool | None, if_match: str | None) -> list[str]:
        """Write. Raises RevisionMismatch or NotPersistable, and has then changed nothing."""
        keeper = self._keeper
        try:
            result = await off_loop(
                lambda: edit.edit_rollout(
                    keeper.path, keeper.env, percentage=percentage, enabled=enabled, if_match=if_match
                )
            )
        except edit.RevisionMismatch as mismatch:
            raise RevisionMismatch(mismatch.current) from mismatch
        except edit.NotWritable as refusal:
            raise NotPersistable(f"{refusal.detail}; ?persist=false changes it in memory") from refusal
        except ConfigError as error:
            raise NotPersistable(f"the configuration file is not valid: {error.problems[0]}") from error
        except OSError as error:
            raise NotPersistable(f"{keeper.path} can't be written: {error.strerror or error}") from error
        replaced = [f"rollout.{key} was {text} and is now a plain value" for key, text in result.replaced.items()]
        return [*replaced, *result.warnings]

    async def _reload(self, settled: Override | None) -> None:
        """Put in force what was written; `settled` is the override that it makes needless."""

        def decide(state: RolloutState, file: Share, section: str) -> RolloutState:
            return on_written(state, file, section, settled)

        rejected = await self._keeper.reload_locked(_ORIGIN, decide)
        if rejected is not None:  # somebody else made it invalid within the last milliseconds
            raise NotPersistable(f"written, but then not valid: {rejected.problems[0]}")

    async def roll_back(self) -> RolloutOutcome:
        """See admin.control.Control.roll_back."""
        override = await self._keeper.override(Share(0, enabled=False), _ORIGIN)
        writing: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._tasks.spawn(self._write_rollback(override, writing))
        try:
            async with asyncio.timeout(_WRITE_WITHIN_S):
                why_not = await asyncio.shield(writing)
        except TimeoutError:
            why_not = _SLOW
        return self._outcome(persisted=why_not is None, notes=[] if why_not is None else [why_not])

    async def _write_rollback(self, override: Override, written: "asyncio.Future[str | None]") -> None:
        """Make the file say what the override says, and then drop that; tells why not, None when done."""
        why_not = None
        async with self._keeper.lock:
            if not is_still(self._keeper.state.override, override):
                why_not = _OVERTAKEN
            else:
                try:
                    await self._edit(0, enabled=False, if_match=None)
                    await self._reload(override)
                except NotPersistable as refusal:
                    why_not = f"{_OVERRIDE}: {refusal.detail.removesuffix('; ?persist=false changes it in memory')}"
        if not written.done():
            written.set_result(why_not)

    def _outcome(self, *, persisted: bool, notes: list[str]) -> RolloutOutcome:
        keeper = self._keeper
        share = keeper.state.share
        if keeper.state.kill_switch:
            notes = [*notes, _KILLED]
        if share.percentage and not share.enabled:
            notes = [*notes, _NOT_ENABLED]
        return RolloutOutcome(
            percentage=share.percentage,
            enabled=share.enabled,
            revision=keeper.reading.loaded.revision,
            persisted=persisted,
            note="; ".join(notes) or None,
        )
