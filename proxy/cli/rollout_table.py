"""Lays out a rollout's status for people. Pure: the status in, lines of styled text out.

Neighbours: `rollout_status` asks, `screen` draws.
"""

import textwrap
from collections.abc import Mapping
from typing import Any, Final

from proxy.cli.figures import as_span
from proxy.cli.screen import Line
from proxy.settings.units import format_duration

_STYLES: Final = {"GO": "good", "HOLD": "warn", "NO_GO": "bad"}
_PHASE_STYLES: Final = {"completed": "good", "rolled_back": "bad", "aborted": "bad", "paused": "warn"}


def rollout_lines(status: Mapping[str, Any], now: float, width: int = 80) -> list[Line]:
    """The whole picture, sentences wrapped at `width` columns; `now` in seconds since the epoch."""
    lines = [*_header(status, now, width), []]
    room = max((len(str(check["name"])) for check in status["checks"]), default=0)
    for check in status["checks"]:
        verdict = str(check["verdict"])
        optional = "" if check.get("required", True) else " (not required)"
        begin: Line = [(f"{verdict:<6}", _STYLES.get(verdict, "")), (f"{check['name']!s:<{room}}  ", "bold")]
        lines += _wrapped(begin, f"{check['why']}{optional}", width)
    return lines if status["checks"] else lines[:-1]


def _wrapped(begin: Line, text: str, width: int) -> list[Line]:
    """A sentence beside what it is about, on as many lines as it needs."""
    margin = sum(len(part) for part, _ in begin)
    first, *rest = textwrap.wrap(text, max(width - margin, 20)) or [""]
    return [[*begin, (first, "")], *([(" " * margin + more, "")] for more in rest)]


def _header(status: Mapping[str, Any], now: float, width: int) -> list[Line]:
    phase, verdict = str(status["phase"]), str(status["verdict"])
    steps: Line = [("stages     ", "dim")]
    for number, percentage in enumerate(status["stages"], 1):
        here = number == status["stage"]
        steps.append((f"[{percentage} %]" if here else f" {percentage} % ", "bold" if here else "dim"))
    lines: list[Line] = [
        [("rollout    ", "dim"), (phase, _PHASE_STYLES.get(phase, "bold")), (" at ", ""), (_share(status), "bold")],
        steps,
        [("verdict    ", "dim"), (verdict, _STYLES.get(verdict, ""))],
        *_wrapped([("why        ", "dim")], str(status["why"]), width),
    ]
    if status["hold_s"] is not None:
        held = format_duration(round(float(status["held_s"])))
        lines.append([("held       ", "dim"), (f"{held} of {format_duration(status['hold_s'])}, watched", "")])
    for check, reason in status["overrides"].items():
        lines.append([("override   ", "dim"), (f"{check}: {reason}", "warn")])
    if status["unfinished_step"] is not None:
        lines.append([("step       ", "dim"), (f"to {status['unfinished_step']['percentage']} %, under way", "warn")])
    seen = f"{as_span(now - float(status['at']))} ago"
    running = ("runs", "good") if status["running"] else ("does not run", "warn")
    lines.append([("controller ", "dim"), running, (f", last tick {seen}", "")])
    return lines


def _share(status: Mapping[str, Any]) -> str:
    return f"{status['percentage']} %"
