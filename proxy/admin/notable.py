"""What happened lately that an operator should know: told from two bodies of `/status`, one after the other. Pure.

Comparing what is shown anywhere needs no ear at each place where things happen, and no event can contradict the
page. Its price: of what came and went between two looks, only what is left of it is told. Bounded to the last
`KEPT` events. Neighbours: `observer` compares, `stream` sends.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from proxy.admin.history import share_in_force

KEPT: Final = 50
_LONGEST: Final = 300
_BREAKER_LEVEL: Final = {"rejecting": "bad", "probing": "warn", "admitting": "good"}

Told = tuple[str, str, str]
"""kind, level (`info`, `good`, `warn` or `bad`), and a sentence for people."""


@dataclass(frozen=True, slots=True)
class Notable:
    """One event; `at` is when it was seen, in seconds since the epoch, or when it was, where the status says so."""

    id: int
    at: float
    kind: str
    level: str
    text: str


class Notables:
    """A ring of events. `serial` is the id of the last one."""

    def __init__(self) -> None:
        self._kept: deque[Notable] = deque(maxlen=KEPT)
        self._before: Mapping[str, Any] | None = None
        self.serial = 0

    def __repr__(self) -> str:
        return f"<Notables {len(self._kept)} kept, serial={self.serial}>"

    def look(self, status: Mapping[str, Any], at: float) -> None:
        """Take note of what differs from the status before; the first one tells nothing."""
        for kind, level, text in differences(self._before, status) if self._before is not None else ():
            self.serial += 1
            self._kept.append(Notable(self.serial, round(at, 1), kind, level, text[:_LONGEST]))
        self._before = status

    def since(self, serial: int) -> list[dict[str, object]]:
        """Those after `serial`, as far as they are still here, oldest first."""
        return [asdict(event) for event in self._kept if event.id > serial]


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Told]:
    """Say in sentences what became different."""
    yield from _rollout(before, after)
    if before.get("breaker") != after.get("breaker"):
        state = str(after.get("breaker"))
        yield "breaker", _BREAKER_LEVEL.get(state, "warn"), f"Circuit breaker: {before.get('breaker')} → {state}"
    yield from _reload(_mapping(before.get("last_reload")), _mapping(after.get("last_reload")), after)
    yield from _workers(before.get("workers"), after.get("workers"))
    if before.get("ready") != after.get("ready"):
        ready = bool(after.get("ready"))
        yield "ready", "good" if ready else "bad", "Serving requests" if ready else "Not serving: starting or draining"


def _rollout(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Told]:
    changes = []
    if before.get("percentage") != after.get("percentage"):
        changes.append(f"{before.get('percentage')} % → {after.get('percentage')} %")
    if before.get("enabled") != after.get("enabled"):
        changes.append("enabled" if after.get("enabled") else "disabled")
    override, earlier = _mapping(after.get("override")), _mapping(before.get("override"))
    if override and override != earlier:
        changes.append(f"as an override by {override.get('origin')}")
    elif earlier and not override:
        changes.append("the override ended")
    if changes:
        less = share_in_force(after) < share_in_force(before)
        yield "rollout_changed", "warn" if less else "info", f"Rollout: {', '.join(changes)}"
    if bool(before.get("kill_switch")) != bool(after.get("kill_switch")):
        on = bool(after.get("kill_switch"))
        text = "Kill switch on: everything goes to legacy" if on else "Kill switch off"
        yield "kill_switch", "bad" if on else "good", text


def _reload(before: Mapping[str, Any], after: Mapping[str, Any], status: Mapping[str, Any]) -> Iterator[Told]:
    if after.get("at") == before.get("at") or after.get("result") == "unchanged":
        return
    if after.get("result") == "rejected":
        if after.get("error") != before.get("error"):
            yield "config_rejected", "bad", f"Configuration rejected: {_first_line(after.get('error'))}"
        return
    yield "config_applied", "info", f"Configuration applied: revision {status.get('revision')}"


def _workers(before: object, after: object) -> Iterator[Told]:
    gone, come = _by_pid(before), _by_pid(after)
    slots_after = {worker.get("worker") for worker in come.values()}
    for pid, worker in gone.items():
        slot = worker.get("worker")
        if pid in come:
            continue
        if worker.get("state") == "draining":
            yield "worker_ended", "info", f"Worker {slot} (process {pid}) finished its drain"
        elif slot in slots_after:
            yield "worker_gone", "warn", f"Worker {slot} (process {pid}) is gone and was replaced"
        else:
            yield "worker_died", "bad", f"Worker {slot} (process {pid}) is gone"
    for pid, worker in come.items():
        if pid not in gone:
            yield "worker_started", "info", f"Worker {worker.get('worker')} (process {pid}) started"


def _by_pid(workers: object) -> dict[object, Mapping[str, Any]]:
    listed = workers if isinstance(workers, list) else []
    return {worker.get("pid"): worker for worker in map(_mapping, listed)}


def _first_line(text: object) -> str:
    return next(iter(str(text or "").splitlines()), "")


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
