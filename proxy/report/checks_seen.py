"""Follows the checks from tick to tick: from when to when one failed, and when nothing could be seen. Pure.

Neighbours: `run_story` gives each judged tick; a check's own words (`rollout.checks`) say whether it failed.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from proxy.report.findings import CheckResult, CheckUnit, Event, Topic

_FAILED: Final = re.compile(r"; failed \d+ of \d+ times in a row$")
_UNSEEN: Final = "can't be judged: "
_UNITS: Final = (
    (re.compile(r" within \S+ \(must be "), CheckUnit.SECONDS),
    (re.compile(r" (?:hit the cache|failed|fell back)\b.* %"), CheckUnit.RATIO),
    (re.compile(r", must be (?:above|below) "), CheckUnit.NUMBER),
)


class ChecksSeen:
    """What the checks of a run said, as episodes."""

    def __init__(self) -> None:
        self._open: dict[str, Event] = {}
        self._closed: list[Event] = []

    def __repr__(self) -> str:
        return f"<ChecksSeen {len(self._open)} episodes open, {len(self._closed)} over>"

    def take(self, at: float, results: Iterable[CheckResult]) -> None:
        """Take one tick's results."""
        now: dict[str, Event] = {}
        for result in results:
            if result.verdict == "NO_GO" or _FAILED.search(result.why):
                text = f"{result.name}: {_FAILED.sub('', result.why)}"
                now[f"failing {result.name}"] = Event(at, Topic.FAILING, text, at)
            elif result.why.startswith(_UNSEEN):
                now["unseen"] = Event(at, Topic.UNSEEN, f"Not observed: {result.why.removeprefix(_UNSEEN)}", at)
        for key, before in self._open.items():
            if key in now:
                now[key] = replace(now[key], at=before.at)
            else:
                self._closed.append(replace(before, until=at))
        self._open = now

    def episodes(self, end: float) -> list[Event]:
        """All of them; what is still open lasts until `end`."""
        return [*self._closed, *(replace(event, until=end) for event in self._open.values())]


def read_results(checks: Iterable[Mapping[str, Any]]) -> tuple[CheckResult, ...]:
    """The checks of a tick or a snapshot, as the journal has them."""
    return tuple(
        CheckResult(
            name=str(one["name"]),
            verdict=str(one["verdict"]),
            value=None if one["value"] is None else float(one["value"]),
            bound=float(one["bound"]),
            samples=one["samples"],
            why=str(one["why"]),
            required=bool(one.get("required", True)),
        )
        for one in checks
    )


def failed_as_said(results: Iterable[CheckResult], why: str) -> tuple[CheckResult, ...]:
    """The results of the tick before, corrected by the reason of a NO_GO, which names the checks that said so."""
    corrected = []
    for result in results:
        start = f"{result.name}: "
        place = 0 if why.startswith(start) else why.find(f"; {start}")
        if place < 0:
            corrected.append(result)
            continue
        said = why[place:].removeprefix("; ").removeprefix(start)
        corrected.append(replace(result, verdict="NO_GO", value=None, samples=None, why=said))
    return tuple(corrected)


def unit_in(why: str) -> CheckUnit | None:
    """What a check's value is, as far as its words tell."""
    return next((unit for words, unit in _UNITS if words.search(why)), None)
