"""What is known about a cutover: facts with their times, and nothing concluded from them. Frozen values.

Times are seconds since the epoch. What is not known is None or absent, never 0. Neighbours: `reading` and
`prometheus` find facts, `conclusions`, `performance` and `issues` conclude, `sections` tell.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from proxy.report.figures import Measurement
from proxy.report.proof import Proof


class CheckUnit(StrEnum):
    """What a check's value is, which decides how it is shown."""

    SECONDS = "seconds"
    RATIO = "ratio"
    NUMBER = "number"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check said at one moment."""

    name: str
    verdict: str
    value: float | None
    bound: float
    samples: int | None
    why: str
    required: bool = True


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage, from the step that began it. `ended` is None while it lasts; `results` are of its last tick.

    `overrides` are checks that somebody made count as GO, and why. `outcome` is GO, NO_GO, aborted, or its phase.
    """

    number: int
    percentage: int
    began: float
    ended: float | None = None
    hold_s: float | None = None
    held_s: float = 0.0
    outcome: str = ""
    results: tuple[CheckResult, ...] = ()
    overrides: Mapping[str, str] = field(default_factory=dict)


class Topic(StrEnum):
    """What happened, as far as the report tells things apart."""

    STARTED = "started"
    RESUMED = "resumed"
    STOPPED = "stopped"
    STEP = "step"
    BACK = "step back"
    FAILED_STEP = "failed step"
    PHASE = "phase"
    WAITING = "waiting"
    APPROVAL = "approval"
    PAUSED = "paused"
    OVERRIDE = "override"
    ORDER = "order"
    REFUSED = "refused"
    NO_GO = "NO_GO"
    FAILING = "failing check"
    UNSEEN = "not observed"
    ABORTED = "aborted"
    REHEARSAL = "rehearsal"
    COMPLETED = "completed"
    BURST = "fallback burst"
    BREAKER = "breaker trip"
    REJECTED = "rejected configuration"
    RESTARTED = "restarted"
    MONITORING = "monitoring"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, in words; `until` when it lasted."""

    at: float
    topic: Topic
    text: str
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """What somebody wrote, in which run (0: before any); with `check`, a number for a manual check."""

    run: int
    at: float
    text: str
    check: str | None = None
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """One rehearsal that ended."""

    at: float
    ok: bool
    users: int | None
    to_target_s: float | None
    to_legacy_s: float | None
    why: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One look of `cutover rollout watch` after a run.

    `percentages` are what was in force, by place; 0 when not enabled.
    """

    run: int
    at: float
    verdict: str
    why: str
    results: tuple[CheckResult, ...]
    percentages: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class CheckDefinition:
    """What a plan's check looks at, as far as the journal says."""

    name: str
    kind: str
    source: str | None = None
    operation: str | None = None
    quantile: float | None = None
    bound: float | None = None
    baseline_s: float | None = None
    unit: CheckUnit | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a plan. `phase` is the newest state's; `is_over` that nothing more will happen in it."""

    number: int
    plan: str
    digest: str
    began: float
    ended: float
    phase: str
    is_over: bool
    percentage: int
    why: str
    planned: tuple[int, ...]
    holds: tuple[float, ...]
    approver: str | None
    on_call: str | None
    waived: tuple[str, ...]
    manual: tuple[str, ...]
    definitions: tuple[CheckDefinition, ...]
    stages: tuple[Stage, ...]
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Sources:
    """How the two sources are called in the figures."""

    legacy: str
    target: str


@dataclass(frozen=True, slots=True)
class Origin:
    """One input: whether it was supplied, and what there is to say about it. Without a `needed` one something lacks."""

    name: str
    supplied: bool
    text: str
    needed: bool = True


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything. `baseline` are figures of before the first step, `measured` of since then, in order of their times.

    `after` are those measurements that show how it is now: at the last percentage, settled, and in monitoring.
    `baseline_text` says which time that was. `notes` are of every run, `snapshots` of this one.
    """

    journal: str
    run: Run
    earlier: tuple[Run, ...]
    sources: Sources | None
    baseline: Measurement | None
    baseline_text: str
    measured: tuple[Measurement, ...]
    after: tuple[Measurement, ...]
    rehearsals: tuple[Rehearsal, ...]
    snapshots: tuple[Snapshot, ...]
    notes: tuple[Note, ...]
    units: Mapping[str, CheckUnit]
    origins: tuple[Origin, ...]
    proofs: tuple[Proof, ...] = ()
