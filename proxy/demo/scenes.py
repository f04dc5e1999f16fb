"""The phases of the story as they turn out: which percentage was in force from when to when, and what is shown of it.

A phase is judged from the moment when its percentage was seen in force until the last look at which it still was:
what happened in between may rightly have been decided before or after the change. Neighbours: `story` looks,
`display` shows, `summary` counts.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from proxy.demo.checks import judge_sides
from proxy.demo.display import Display, Scene
from proxy.demo.sidecar import Seen
from proxy.demo.stats import Record
from proxy.demo.summary import PhaseTimes


class Phases:
    """Opens a phase when the percentage changes, or when it is told to; shows the present one."""

    def __init__(self, display: Display, records: Sequence[Record], hold_s: float) -> None:
        self._display = display
        self._records = records
        self._hold_s = hold_s
        self._titles: Mapping[int, str] = {}
        self._now: PhaseTimes | None = None
        self._length_s = 0.0
        self._first = 0
        self._off_side: set[str] = set()
        self._began_s = self._last_look_s = 0.0
        self._seen: Seen | None = None
        self.share_before = 0
        self.done: list[PhaseTimes] = []

    def __repr__(self) -> str:
        return f"<Phases {len(self.done)} done, {self._now}>"

    def begin(self) -> None:
        """The story's clock starts."""
        self._began_s = self._last_look_s = self.clock()

    @staticmethod
    def clock() -> float:
        """Seconds, monotonic: those of the records."""
        return asyncio.get_running_loop().time()

    @property
    def share(self) -> int:
        """The percentage of the present phase."""
        return 0 if self._now is None else self._now.percentage

    @property
    def age_s(self) -> float:
        """How long the present phase lasts."""
        return 0.0 if self._now is None else self.clock() - self._now.began_s

    def name(self, titles: Mapping[int, str]) -> None:
        """From now on, phases are called so by their percentage."""
        self._titles = titles

    def event(self, text: str) -> None:
        """Say what has happened."""
        self._display.event(self.clock() - self._began_s, text)

    def open(self, title: str, share: int, event: str, *, length_s: float) -> None:
        """Begin a phase now, at the percentage that is in force."""
        now_s = self.clock()
        self._begin(PhaseTimes(title, share, now_s, now_s), ended_s=now_s, length_s=length_s)
        self.event(event)

    def see(self, seen: Seen) -> None:
        """Take what was seen: another percentage begins a phase once every worker has it."""
        if self._now is not None and seen.share != self._now.percentage and seen.everywhere:
            title = self._titles.get(seen.share, f"{seen.share} %")
            length_s = 2.0 if seen.share == 0 else self._hold_s
            self.share_before = self._now.percentage
            phase = PhaseTimes(title, seen.share, seen.heard_s, seen.heard_s)
            self._begin(phase, ended_s=max(self._last_look_s, self._now.began_s), length_s=length_s)
            self.event(f"{seen.share} % in force")
        if seen.share == self.share:
            self._last_look_s = seen.asked_s
        self._seen = seen
        self._show()

    def close(self) -> None:
        """The last phase ends."""
        if self._now is not None:
            self._end(self._last_look_s)
            self._now = None

    def _begin(self, phase: PhaseTimes, *, ended_s: float, length_s: float) -> None:
        if self._now is not None:
            self._end(ended_s)
        self._now, self._length_s = phase, length_s
        self._first = len(self._records)

    def _end(self, ended_s: float) -> None:
        if self._now is not None:
            phase = replace(self._now, ended_s=ended_s)
            self._off_side |= self._off_side_in(phase)
            self.done.append(phase)

    def _off_side_in(self, phase: PhaseTimes) -> set[str]:
        started = self._records[self._first :]
        return set(judge_sides(started, phase.percentage, phase.began_s, phase.ended_s).users_off_side)

    def _show(self) -> None:
        if self._now is None or self._seen is None:
            return
        now_s, phase = self.clock(), self._now
        looked_at = replace(phase, ended_s=self._last_look_s)
        self._display.show(
            Scene(
                title=phase.title,
                percentage=phase.percentage,
                elapsed_s=now_s - phase.began_s,
                length_s=self._length_s,
                now_s=now_s,
                clock_s=now_s - self._began_s,
                phase_records=[one for one in self._records[self._first :] if one.started_s >= phase.began_s],
                records=self._records,
                users_off_side=len(self._off_side | self._off_side_in(looked_at)),
                gate=self._seen.gate,
            )
        )
