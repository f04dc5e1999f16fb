"""What is in force of the rollout, given the file, an override and the kill switch; and when an override ends. Pure.

| what happens | the override |
| --- | --- |
| a change is made that is not to be written, or a rollback, until it is written | begins, and replaces an earlier one |
| the file is read again, its `rollout` section as it was (a secret may have changed) | stays |
| the file is read again, its `rollout` section written anew | ends |
| the same, and a file that the section takes its values from has come to say what the override says | ends |
| a change is written to the file | the one that was there ends; one made meanwhile stays |
| a worker is replaced, the kill switch comes or goes | stays |

Neighbour: `keeper` holds one `RolloutState` and puts what is in force into every worker.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple


class Share(NamedTuple):
    """How many users go to the target, if any."""

    percentage: int
    enabled: bool


@dataclass(frozen=True, slots=True)
class Override:
    """A change made at run time on top of the file. `at` is in seconds since the epoch.

    `number` tells it from every other one; `section` is the fingerprint of the file's `rollout` section that it
    stands above.
    """

    number: int
    share: Share
    origin: str
    at: float
    section: str


@dataclass(frozen=True, slots=True)
class RolloutState:
    """The file's share and section, the override if there is one, and whether the kill-switch file exists.

    `overrides` counts those made so far.
    """

    file: Share
    section: str
    override: Override | None = None
    kill_switch: bool = False
    overrides: int = 0

    @property
    def share(self) -> Share:
        """What is in force; the kill switch stands above it."""
        return self.file if self.override is None else self.override.share


def on_file(state: RolloutState, file: Share, section: str) -> RolloutState:
    """The file was read."""
    override = state.override
    caught_up = override is not None and state.file != file == override.share
    if override is not None and (override.section != section or caught_up):
        override = None
    return replace(state, file=file, section=section, override=override)


def on_written(state: RolloutState, file: Share, section: str, settled: Override | None) -> RolloutState:
    """The file was read after a change was written to it that settles the override `settled`."""
    override = state.override
    if is_still(override, settled):
        override = None
    elif override is not None:  # made while the file was being written: it is the later wish
        override = replace(override, section=section)
    return replace(state, file=file, section=section, override=override)


def on_override(state: RolloutState, share: Share, origin: str, at: float) -> RolloutState:
    """A change was made that is not in the file."""
    number = state.overrides + 1
    return replace(state, overrides=number, override=Override(number, share, origin, at, state.section))


def is_still(override: Override | None, earlier: Override | None) -> bool:
    """Whether the override is the one that it was earlier; none is still none."""
    return (override and override.number) == (earlier and earlier.number)


def on_kill_switch(state: RolloutState, *, engaged: bool) -> RolloutState:
    """The kill-switch file has come or gone."""
    return replace(state, kill_switch=engaged)


def share_after(state: RolloutState, percentage: int | None, *, enabled: bool | None) -> Share:
    """What a change asks for; None leaves what is in force as it is."""
    now = state.share
    return Share(now.percentage if percentage is None else percentage, now.enabled if enabled is None else enabled)


def keys_to_write(
    state: RolloutState, percentage: int | None, *, enabled: bool | None
) -> tuple[int | None, bool | None]:
    """What the file must say so that the change is in force without an override; None need not be written.

    A value that only the override holds is written too, or the change would silently bring back the file's.
    """
    wanted = share_after(state, percentage, enabled=enabled)
    write_percentage = percentage is not None or wanted.percentage != state.file.percentage
    write_enabled = enabled is not None or wanted.enabled != state.file.enabled
    return (wanted.percentage if write_percentage else None, wanted.enabled if write_enabled else None)
