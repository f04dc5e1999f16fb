"""The workers: one in each slot, replaced when they die, hang or are to be renewed, told what is in force.

Decides by `backoff`, `silence` and the stages of `member`; knows no settings but those it passes on. Every call is
made on the supervisor's event loop. Neighbours: `keeper` gives configurations, `process` runs them, `figures` reads
the reports.
"""

from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from proxy.supervisor.backoff import Backoff
from proxy.supervisor.member import REACHABLE, Body, Member, Stage
from proxy.supervisor.messages import (
    Applied,
    Apply,
    Ask,
    Configuration,
    Drain,
    Failed,
    Hello,
    Leaving,
    Message,
    Ready,
    Report,
    Start,
)
from proxy.supervisor.pulse import Pulse
from proxy.supervisor.silence import HUNG_AFTER_S, START_WITHIN_S
from proxy.supervisor.sockets import StartFailed
from proxy.tasks import TaskKeeper
from proxy.telemetry.events import EventLog
from proxy.telemetry.state import MetricsState

APPLY_WITHIN_S: Final = 5.0
_AFTER_DRAIN_S: Final = 5.0  # for log lines and the last report, before a drained worker is killed

Starter = Callable[[int, Callable[[Message], None], Callable[[int], None]], Body]
"""Starts a worker for a slot: slot, what hears its messages, what hears of its end. Raises OSError."""


class Drains(Protocol):
    """How long a worker that is replaced may take; follows the configuration in force."""

    def __call__(self) -> Drain:
        """Say it."""


@dataclass(slots=True)
class Slot:
    """A place for one worker. `incoming` is to take over from `worker`; `launch_at`: when the next one is due."""

    number: int
    worker: Member | None = None
    incoming: Member | None = None
    launch_at: float | None = None
    backoff: Backoff = field(default_factory=Backoff)


class Fleet:
    """All workers. `ended` keeps what those that are gone have counted."""

    def __init__(
        self, slots: int, start: Starter, events: EventLog, clock: Callable[[], float], drain_of_replaced: Drains
    ) -> None:
        self._slots = tuple(Slot(number) for number in range(slots))
        self._start = start
        self._events = events
        self._clock = clock
        self._drain_of_replaced = drain_of_replaced
        self._tasks = TaskKeeper()
        self._members: dict[Member, None] = {}
        self._configuration: Configuration | None = None
        self._pulse = Pulse()
        self._asked = 0
        self._to_renew: dict[int, None] = {}
        self._renewing = False
        self._may_renew = True
        self._started = False
        self._stopping = False
        self.ended = MetricsState()

    def __repr__(self) -> str:
        return f"<Fleet {list(self._members)!r}>"

    @property
    def members(self) -> Sequence[Member]:
        """Every worker whose process is there, those that drain included."""
        return tuple(self._members)

    @property
    def serving(self) -> bool:
        """Whether any worker accepts connections."""
        return any(member.stage is Stage.SERVING for member in self._members)

    # start

    async def start(self, configuration: Configuration) -> None:
        """Start a worker in every slot. Raises StartFailed, with none left, when one can't work."""
        self._configuration = configuration
        for slot in self._slots:
            self._launch(slot)
        first = self.members
        await self._pulse.until(lambda: all(member.stage in (Stage.SERVING, Stage.ENDED) for member in first))
        failed = next((member for member in first if not member.alive), None)
        if failed is not None or len(first) < len(self._slots):
            await self.end()
            raise StartFailed((failed and failed.blame) or "a worker process can't be started")
        self._started = True

    def _launch(self, slot: Slot, *, as_incoming: bool = False) -> Member | None:
        """Start a worker for a slot; None, and another try later, when the system has no process for it."""
        slot.launch_at = None
        member = Member(slot.number, self._clock())
        try:
            member.body = self._start(
                slot.number,
                lambda message: self._on_message(slot, member, message),
                lambda status: self._on_gone(slot, member, status),
            )
        except OSError as error:
            self._events.error("worker_not_started", worker=slot.number, error=error.strerror or str(error))
            slot.launch_at = self._clock() + slot.backoff.delay_after(0.0)
            return None
        self._members[member] = None
        if as_incoming:
            slot.incoming = member
        else:
            slot.worker = member
        return member

    # what workers say

    def _on_message(self, slot: Slot, member: Member, message: Message) -> None:
        match message:
            case Hello() if self._configuration is not None:
                member.stage = Stage.STARTING
                announce = slot.number == 0 and not self._started
                member.body.send(Start(self._configuration, announce))
            case Ready(serial):
                member.stage = Stage.SERVING
                member.applied = max(member.applied, serial)
                tell = self._events.info if self._started else self._events.debug  # `started` tells of the first
                tell("worker_started", worker=slot.number, pid=member.body.pid)
            case Applied(serial, refused):
                member.applied, member.refused = serial, refused
            case Failed(why):
                member.blame = why
            case Leaving():
                member.leaving = True
                self.renew([slot.number])
        member.heard(message if isinstance(message, Report) else None)
        self._pulse.beat()

    def _on_gone(self, slot: Slot, member: Member, status: int) -> None:
        """A worker has ended, and all it said was heard: keep what it counted, and see to the slot."""
        expected = self._stopping or (member.stage is Stage.DRAINING and member.blame is None)
        member.stage = Stage.ENDED
        del self._members[member]
        if member.report is not None:
            self.ended.merge_counters(member.report.metrics)
        how = {"signal": -status} if status < 0 else {"status": status}
        if member.blame is None:
            member.blame = f"worker {slot.number} ended by itself, {_words(how)}"
        tell = self._events.info if expected else self._events.warning
        tell(
            "worker_ended" if expected else "worker_died",
            worker=slot.number,
            pid=member.body.pid,
            **how,
            **({} if expected else {"why": member.blame}),
        )
        if member is slot.worker:
            slot.worker = None
            if slot.incoming is None and self._started:
                self._replace_later(slot, self._clock() - member.started_at)
        self._pulse.beat()

    def _replace_later(self, slot: Slot, lived_s: float) -> None:
        delay_s = slot.backoff.delay_after(lived_s)
        if delay_s:
            slot.launch_at = self._clock() + delay_s
        elif not self._stopping:
            self._launch(slot)

    # time

    def tick(self, now: float) -> None:
        """Kill who hangs or takes too long, start whoever is due."""
        for member in self.members:
            silent_s = member.silence.look(now)
            if member.stage in (Stage.BOOTING, Stage.STARTING):
                if silent_s > START_WITHIN_S:
                    member.kill(f"worker {member.slot} did not start within {START_WITHIN_S:.0f} s")
            elif silent_s > HUNG_AFTER_S:
                member.kill(f"worker {member.slot} hung: no sign of life for {HUNG_AFTER_S:.0f} s")
            if member.kill_at is not None and now >= member.kill_at:
                member.kill(f"worker {member.slot} did not end its drain in time")
        for slot in self._slots:
            if slot.launch_at is not None and now >= slot.launch_at and not self._stopping:
                self._launch(slot)

    # what is in force

    def apply(self, configuration: Configuration) -> Coroutine[None, None, list[str]]:
        """Send a configuration to every worker, at once; awaiting the result waits until each has it in force.

        The result is why workers could not take it. One that does not answer in time is killed: its replacement
        starts with this configuration.
        """
        self._configuration = configuration
        told = [member for member in self._members if member.stage in REACHABLE]
        for member in told:
            member.body.send(Apply(configuration))
        return self._confirmation(configuration, told)

    async def _confirmation(self, configuration: Configuration, told: Sequence[Member]) -> list[str]:
        def waiting() -> list[Member]:
            return [member for member in told if member.alive and member.applied < configuration.serial]

        if not await self._pulse.until(lambda: not waiting(), APPLY_WITHIN_S):
            for member in waiting():
                member.kill(f"worker {member.slot} hung: no answer to a new configuration")
        return [member.refused for member in told if member.refused is not None]

    async def refresh(self, within_s: float) -> None:
        """Have every worker report, and wait for it, but no longer than this."""
        self._asked += 1
        serial = self._asked
        asked = [member for member in self._members if member.stage in (Stage.SERVING, Stage.DRAINING)]
        for member in asked:
            member.body.send(Ask(serial))
        await self._pulse.until(
            lambda: all(not m.alive or (m.report is not None and m.report.asked >= serial) for m in asked), within_s
        )

    def reports(self) -> Iterator[tuple[Member, Report]]:
        """What each worker told last."""
        for member in self._members:
            if member.report is not None:
                yield member, member.report

    # renewal

    def renew(self, slots: Sequence[int] | None = None) -> None:
        """Replace workers (all, without `slots`), one after another: the new one accepts before the old one drains."""
        self._to_renew.update(dict.fromkeys(range(len(self._slots)) if slots is None else slots))
        if self._may_renew and not self._renewing:
            self._renewing = True
            self._tasks.spawn(self._renew())

    def cease_renewing(self) -> None:
        """The end has begun: whoever dies is still replaced, but nobody for being told to end beside the supervisor."""
        self._may_renew = False

    async def _renew(self) -> None:
        try:
            while self._to_renew and self._may_renew and not self._stopping:
                number = next(iter(self._to_renew))
                del self._to_renew[number]
                await self._renew_slot(self._slots[number])
        finally:
            self._renewing = False

    async def _renew_slot(self, slot: Slot) -> None:
        old = slot.worker
        if old is None:
            return  # its replacement is due anyway
        new = self._launch(slot, as_incoming=True)
        if new is not None:
            await self._pulse.until(lambda: new.stage in (Stage.SERVING, Stage.ENDED) or self._stopping)
        slot.incoming = None
        if self._stopping:
            return
        if new is not None and new.stage is Stage.SERVING:
            slot.worker = new
            self._retire(old)
            return
        self._events.error("worker_not_renewed", worker=slot.number, why=new.blame if new is not None else None)
        if old.leaving:
            self._retire(old)
        if slot.worker is None or old.leaving:
            slot.worker = None
            self._replace_later(slot, 0.0)

    def _retire(self, member: Member) -> None:
        if member.alive:
            self._drain(member, self._drain_of_replaced())

    # end

    def _drain(self, member: Member, drain: Drain) -> None:
        member.stage = Stage.DRAINING
        member.kill_at = self._clock() + drain.timeout_s + _AFTER_DRAIN_S
        member.body.send(drain)

    async def drain(self, drain: Drain) -> None:
        """Let every worker finish what is under way and end; none is replaced any more."""
        self._stopping = True
        self._pulse.beat()
        for member in self.members:
            if member.stage in (Stage.SERVING, Stage.DRAINING):
                self._drain(member, drain)
            else:
                member.kill("stopped while it started")
        await self._pulse.until(lambda: not self._members, drain.timeout_s + 2 * _AFTER_DRAIN_S)
        await self.end()

    async def end(self) -> None:
        """Kill whoever is left, and wait for it."""
        self._stopping = True
        for member in self.members:
            member.kill("killed at the end")
        await self._pulse.until(lambda: not self._members, _AFTER_DRAIN_S)
        await self._tasks.close()


def _words(how: dict[str, int]) -> str:
    return ", ".join(f"{name} {value}" for name, value in how.items())
