"""One worker as the fleet knows it: its stage, what it told last, and how long it has been silent.

Neighbour: `fleet` keeps them and changes them.
"""

from enum import Enum, auto
from typing import Protocol

from proxy.supervisor.messages import Message, Report
from proxy.supervisor.silence import Silence


class Body(Protocol):
    """The process behind a member."""

    @property
    def pid(self) -> int:
        """The process id."""

    def send(self, message: Message) -> None:
        """Say something to it; never waits."""

    def kill(self) -> None:
        """End it at once."""


class Stage(Enum):
    """What a worker does."""

    BOOTING = auto()
    """It has been started and said nothing yet."""
    STARTING = auto()
    """It has its configuration and is about to accept."""
    SERVING = auto()
    DRAINING = auto()
    """It finishes what is under way."""
    ENDED = auto()


REACHABLE = frozenset((Stage.STARTING, Stage.SERVING, Stage.DRAINING))
"""Stages in which a worker has a configuration, and is to hear of each new one."""


class Member:
    """A worker of the fleet.

    `applied` is the serial of the configuration that it reads, `refused` why it could not take the last one.
    `kill_at` is when its drain is over. `blame` says why it was killed, or could not start.
    """

    __slots__ = ("applied", "blame", "body", "kill_at", "leaving", "refused", "report", "silence", "slot", "stage",
                 "started_at")  # fmt: skip

    def __init__(self, slot: int, now: float) -> None:
        self.slot = slot
        self.body: Body
        self.stage = Stage.BOOTING
        self.started_at = now
        self.silence = Silence(now)
        self.report: Report | None = None
        self.applied = 0
        self.refused: str | None = None
        self.leaving = False
        self.kill_at: float | None = None
        self.blame: str | None = None

    def __repr__(self) -> str:
        return f"<Member {self.slot} pid={self.body.pid} {self.stage.name} applied={self.applied} {self.silence!r}>"

    @property
    def alive(self) -> bool:
        """Whether its process is there."""
        return self.stage is not Stage.ENDED

    def heard(self, report: Report | None = None) -> None:
        """Note that it said something. What a starting worker says does not prolong its time to start."""
        if self.stage in (Stage.SERVING, Stage.DRAINING):
            self.silence.heard()
        if report is not None:
            self.report = report

    def kill(self, blame: str) -> None:
        """End it at once, for a reason; only the first counts."""
        if self.alive and self.blame is None:
            self.blame = blame
            self.body.kill()
