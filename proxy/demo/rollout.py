"""The demo's rollout: a plan with times of seconds, and `cutover rollout` as the processes that an operator starts.

Must not decide anything about the rollout: the controller does. Neighbours: `sidecar` is what it observes and changes,
`story` waits for what it does.
"""

import json
import os
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from proxy.demo.data import proof_files
from proxy.demo.processes import Child, Launch, Signals, StartError, start_child

STAGES: Final = (10, 50, 100)
_PACKAGE_ROOT: Final = Path(__file__).resolve().parents[2]
_COMMAND: Final = (sys.executable, "-m", "proxy")
_READS_NEEDED: Final = 600.0  # of the first stage's tenth, enough for every check to be sure
_COHORT: Final = ("rehearsal-1", "rehearsal-2", "rehearsal-3")
PLAN_NOTE: Final = (
    "The plan is that of config/rollout/production.yaml with seconds for hours. So few requests can't prove an error "
    "ratio below 0.1 %, which takes 2,995 at 95 % confidence: the demo asks for less than 10 % at 90 %, which takes 22."
)


def hold_of(scale: float, rate: float) -> float:
    """Seconds of a stage: as asked for, but long enough for its checks to be decided by this much traffic."""
    return round(max(7.0 * scale, _READS_NEEDED / rate), 1)


def demo_plan(config: Path, admin_url: str, journal: Path, hold_s: float) -> dict[str, Any]:
    """The plan: the checklist of the shipped ones as far as the demo can answer it, with bounds for seconds."""
    settle_s, interval_s = round(hold_s / 7, 2), 0.5
    return {
        "stages": [{"percentage": share, "hold": _seconds(hold_s)} for share in STAGES],
        "interval": _seconds(interval_s),
        "settle": _seconds(settle_s),
        "window": _seconds(hold_s - settle_s),
        "confidence": 0.9,
        "failures_before_no_go": 2,
        "owner": {"approver": "cutover demo", "on_call": "cutover demo"},
        "observe": {"sidecars": [admin_url]},
        "apply": {"file": str(config)},
        "journal": str(journal),
        "checks": [
            {"name": "get p90", "operation": "get", "quantile": 0.9, "below": "1s"},
            {"name": "target errors", "source": "target", "error_ratio_below": 0.1, "hard_limit": 0.4},
            {"name": "user errors", "user_error_ratio_below": 0.1, "hard_limit": 0.2},
            {"name": "fallbacks", "fallback_ratio_below": 0.1, "hard_limit": 0.4},
            {"name": "CDN hits", "source": "target", "cache_hit_ratio_above": 0.2, "required": False},
        ],
    }


def _seconds(value: float) -> str:
    return f"{round(value * 1000)}ms"


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """How long the cohort took there and back."""

    users: int
    to_target_s: float
    to_legacy_s: float


class Rollout:
    """Starts the commands; `work_dir` takes the plan and their output."""

    def __init__(self, work_dir: Path, journal: Path, stack: AsyncExitStack) -> None:
        self._work_dir = work_dir
        self._stack = stack
        self._runs = 0
        self.journal = journal
        self.plan = work_dir / "rollout.yaml"

    def __repr__(self) -> str:
        return f"<Rollout {self._runs} runs in {self.journal}>"

    def write_plan(self, config: Path, admin_url: str, hold_s: float) -> None:
        """Write the plan's file."""
        self.plan.write_text(yaml.safe_dump(demo_plan(config, admin_url, self.journal, hold_s), sort_keys=False))

    async def rehearse(self, path: str) -> Rehearsed:
        """`cutover rollout rehearse`, with test users who ask for `path`. Raises StartError when it fails."""
        cohort = self._work_dir / "cohort.txt"
        cohort.write_text("\n".join(_COHORT))
        child = self._start(
            "rehearsal", ["rollout", "rehearse", str(self.plan), "--users", str(cohort), "--path", path, "--json"]
        )
        if await child.wait() != 0:
            raise child.failure("failed:")
        try:
            facts = json.loads(child.log.read_text())
            return Rehearsed(facts["users"], facts["to_target_s"], facts["to_legacy_s"])
        except (ValueError, KeyError) as error:
            raise StartError(f"the rehearsal did not say its times: {error!r}") from error

    def start(self) -> Child:
        """`cutover rollout start`: a controller, which ends with the rollout."""
        self._runs += 1
        return self._start(f"rollout-{self._runs}", ["rollout", "start", str(self.plan)])

    async def report(self, directory: Path) -> str:
        """`cutover report`, into `directory`; what it said. Raises StartError when it fails."""
        proofs = [f"--verify={file}" for file in proof_files(self._work_dir) if file.exists()]
        child = self._start("report", ["report", "--journal", str(self.journal), "-o", str(directory), *proofs])
        if await child.wait() != 0:
            raise child.failure("failed:")
        return child.log.read_text().strip()

    def _start(self, name: str, arguments: Sequence[str]) -> Child:
        path = os.pathsep.join(filter(None, (str(_PACKAGE_ROOT), os.environ.get("PYTHONPATH"))))
        log = self._work_dir / f"{name}.log"
        signals = Signals(orphaned=Signals().stop)  # it then leaves the percentage, as when it is told to stop
        argv = [*_COMMAND, *arguments]
        child = start_child(Launch(name, argv, self._work_dir, log, {"PYTHONPATH": path}, signals=signals))
        self._stack.push_async_callback(child.stop, 4.0)
        return child
