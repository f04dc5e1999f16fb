"""What a journal says about its newest run, in the shape of contract section 10. Reads only.

Neighbours: `cutover rollout status` shows it; `record` writes what is read here.
"""

from collections.abc import Mapping
from typing import Any

from proxy.rollout.checks import Verdict
from proxy.rollout.journal import WITH_STATE, Journal, JournalError, Kind
from proxy.rollout.lock import is_running


def read_status(journal: Journal) -> dict[str, Any]:
    """The newest run. Raises JournalError when there is none."""
    run = journal.newest_run()
    last = journal.last(*WITH_STATE, run=run) if run else None
    started = journal.last(Kind.STARTED, Kind.RESUMED, run=run) if run else None
    if last is None or started is None:
        raise JournalError(f"{journal.path}: no rollout has been started")
    tick = journal.last(Kind.TICK, run=run)
    unfinished = last.kind is Kind.INTENT
    state: Mapping[str, Any] = last.data["before"] if unfinished else last.data["state"]
    checks = tick.data["checks"] if tick is not None else []
    verdict = tick.data["verdict"] if tick is not None else Verdict.HOLD.value
    if state["phase"] == "rolled_back":
        verdict = Verdict.NO_GO.value
    stages = started.data["stages"]
    holds = started.data["holds"]
    stage = int(state["stage"])
    return {
        "phase": state["phase"],
        "stage": stage,
        "percentage": state["percentage"],
        "verdict": verdict,
        "checks": checks,
        "why": state["why"],
        "stages": stages,
        "held_s": round(float(state["held_s"]), 1),
        "hold_s": holds[stage - 1] if 0 < stage <= len(holds) else None,
        "overrides": state["overrides"],
        "unfinished_step": last.data["step"] if unfinished else None,
        "running": is_running(journal.path),
        "run": run,
        "at": last.at,
        "plan": started.data["plan"],
    }
