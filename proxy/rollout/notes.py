"""Numbers that people enter: how many complaints there are, and whether anybody has said so in this stage. Pure.

Neighbours: `journal` keeps notes, `controller` asks at each tick, the command line writes them.
"""

import re
from collections.abc import Iterable
from typing import Any, Final

from proxy.rollout.plan import Check, CheckKind, Plan

_WITH_NUMBER: Final = re.compile(r"\s*[:=]\s*(?P<number>[0-9]+(?:\.[0-9]+)?)?")


def figure_in(text: str, checks: Iterable[str]) -> tuple[str, float] | None:
    """The check and number that a note is about, as in `complaints: 2`, or `complaint: slow images`, which is one."""
    folded = text.strip().casefold()
    for name in checks:
        singular = name.casefold().removesuffix("s")
        if not folded.startswith(singular):
            continue
        rest = folded[len(singular) :].removeprefix("s")
        found = _WITH_NUMBER.match(rest)
        if found is not None:
            return name, float(found["number"]) if found["number"] else 1.0
    return None


def manual_checks(plan: Plan) -> tuple[Check, ...]:
    """The checks that people answer."""
    return tuple(check for check in plan.checks if check.kind is CheckKind.MANUAL)


def manual_figures(plan: Plan, notes: Iterable[tuple[int, dict[str, Any]]]) -> tuple[dict[str, float], dict[str, str]]:
    """What was entered of each manual check in the stage, added up; and for those of which nothing was, why they lack.

    `notes` are the notes of the run since the stage began, with their entries' ids.
    """
    values: dict[str, float] = {}
    for _, note in notes:
        name, value = note.get("check"), note.get("value")
        if isinstance(name, str) and isinstance(value, int | float):
            values[name] = values.get(name, 0.0) + value
    known = {check.name for check in manual_checks(plan)}
    missing = {
        name: f'nobody has said yet: cutover rollout note "…" --check "{name}" --value N'
        for name in known - values.keys()
    }
    return {name: value for name, value in values.items() if name in known}, missing
