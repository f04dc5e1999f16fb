"""`cutover rollout start --once`: for an orchestrator that starts again whatever ends, as a Deployment does.

Without it a rollout that was rolled back would begin anew by itself. Neighbour: `rollout_start`.
"""

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.rollout.decision import Phase
    from proxy.rollout.journal import Journal

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def ended_phase(journal: "Journal") -> "Phase | None":
    """How the journal's newest rollout ended; None when there is none or when it goes on."""
    from proxy.rollout.decision import State  # noqa: PLC0415 - `cutover run` does without
    from proxy.rollout.journal import WITH_STATE, Kind  # noqa: PLC0415

    run = journal.newest_run()
    last = journal.last(*WITH_STATE, run=run) if run else None
    if last is None or last.kind is Kind.INTENT:
        return None
    phase = State.from_json(last.data["state"]).phase
    return phase if phase.is_final else None


def run_once(work: Callable[[], int], journal: "Journal", path: "Path") -> int:
    """Work unless it is over already; once it is, stay until told to end. 0 when it was completed.

    Returns at once, with the work's status, when that has ended before the rollout (by a signal, by a failure).
    """
    if (phase := ended_phase(journal)) is None:
        status = work()
        if (phase := ended_phase(journal)) is None:
            return status
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    print(
        f"{phase.value}: over, by {path}; staying until told to end. Another rollout needs another journal.",
        flush=True,
    )
    signal.sigwait(_STOP_SIGNALS)
    return 0 if phase.value == "completed" else 1
