"""When a changed file may be believed: pure decisions over what was seen of it, with the time given in.

A file written in place is seen half-written sooner or later, and half a configuration can be a valid one (cut
before `rollout:`, say). So a change counts only once it has settled. Must not look at files nor at a clock.
Neighbour: `watch` looks, and passes on what has settled.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

STEADY_S: Final = 0.03
"""How long a file written in place must look the same; longer than a tick of any file system's clock."""

QUIET_S: Final = 0.5
"""How long what looks unfinished (no newline at its end, or gone) must stay as it is."""

NEW_QUIET_S: Final = 0.1
"""The same for a file that is another one than before: most are renamed over, few are written where they stand."""

OVERDUE_S: Final = 0.5
"""A change that has waited so long, because the file is edited again and again, needs to be steady only for ..."""

OVERDUE_STEADY_S: Final = 0.005
"""... so long, and once it has waited twice as long, not at all."""


class Stamp(NamedTuple):
    """What tells one state of a file from another, after all symbolic links."""

    device: int
    inode: int
    mtime_ns: int
    size: int


UNKNOWN: Final = Stamp(-1, -1, -1, -1)
"""The stamp of a file of which nobody knows whether it was read before or after its last change."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a path, `at` in monotonic seconds; `stamp` is None when there is nothing.

    `moved` says that the file was put there as a whole (renamed over, or a link now leads elsewhere), so that
    nobody is still writing it; `whole` that it looks finished: it ends with a newline; `new` that it is another
    file than the one last passed on.
    """

    at: float
    stamp: Stamp | None
    moved: bool = False
    whole: bool = False
    new: bool = False


@dataclass(frozen=True, slots=True)
class Settling:
    """How far one path has settled. `passed` is the stamp last passed on.

    While a change is pending: since when (`pending_since`), the stamp seen last, since when it has been the same,
    and when the next look is `due`. At rest all of these are None.
    """

    passed: Stamp | None
    seen: Stamp | None = None
    seen_since: float | None = None
    pending_since: float | None = None
    due: float | None = None


def settle(state: Settling, look: Look) -> tuple[Settling, bool]:
    """The state after a look, and whether it has settled on a change, which is then to be passed on."""
    if look.stamp == state.passed:
        return Settling(state.passed), False
    same = state.seen_since is not None and state.seen == look.stamp
    seen_since = state.seen_since if same and state.seen_since is not None else look.at
    pending_since = look.at if state.pending_since is None else state.pending_since
    due = seen_since + steadiness_needed_s(look, waited_s=look.at - pending_since)
    if look.at >= due:
        return Settling(look.stamp), True
    return Settling(state.passed, look.stamp, seen_since, pending_since, due), False


def settle_presence(state: Settling, look: Look) -> tuple[Settling, bool]:
    """As `settle`, for a file whose existence alone counts: at once, and whatever its content."""
    if (look.stamp is None) == (state.passed is None):
        return state, False
    return Settling(look.stamp), True


def steadiness_needed_s(look: Look, *, waited_s: float) -> float:
    """For how long a file must have been seen as in `look`, given how long its change has been pending."""
    if look.moved:
        return 0.0
    if look.stamp is None:
        return QUIET_S
    if not look.whole:
        return NEW_QUIET_S if look.new else QUIET_S
    if waited_s < OVERDUE_S:
        return STEADY_S
    return OVERDUE_STEADY_S if waited_s < 2 * OVERDUE_S else 0.0
