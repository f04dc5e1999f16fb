"""What was counted, as the journal keeps it (docs/rollout.md): by source and operation, for the report. Pure.

Neighbours: `meter` counts, `tally` has the definitions, `measuring` writes it.
"""

from collections.abc import Mapping
from typing import Any, Final

from proxy.core.model import OUTCOME_CANCELLED, PROXY_SOURCE, Reason, Role
from proxy.rollout.history import Increase
from proxy.rollout.meter import Metered
from proxy.rollout.reading import BUCKET, REQUEST_BUCKET
from proxy.rollout.tally import Layout, Tally, count_errors, count_fallbacks, count_user_errors, histogram_of
from proxy.telemetry.exposition import ATTEMPTS, CACHE, DECISIONS, FALLBACKS, RELOADS, REQUESTS, TRUNCATED
from proxy.telemetry.histogram import BOUNDS, Cell, quantile_s

_QUANTILES: Final = {"p50_s": 0.5, "p95_s": 0.95, "p99_s": 0.99}
_BY_SOURCE: Final = frozenset((ATTEMPTS.name, REQUESTS.name, TRUNCATED.name))


def measured_as_json(metered: Metered, layout: Layout) -> dict[str, Any]:
    """What the journal keeps of it; source and operation pairs at which nothing was counted are left out."""
    increase = metered.increase
    return {
        "from": metered.began,
        "to": metered.ended,
        "seconds": None if metered.seconds is None else round(metered.seconds, 3),
        "gaps": dict(metered.gaps),
        "names": {str(role): name for role, name in layout.names.items()},
        "bounds_s": list(BOUNDS),
        "figures": [_figures(increase, layout, *pair) for pair in _pairs(increase)],
        "fallbacks": [
            {"operation": key[1], "reason": key[2], "result": key[3], "count": round(count)}
            for key, count in sorted(increase.items())
            if key[0] == FALLBACKS.name and count > 0
        ],
        "user_errors": _tally_as_json(count_user_errors(increase, None, None)),
        "fallback_ratio": _tally_as_json(count_fallbacks(increase, layout.names[Role.TARGET], None)),
        "breakers": {source: {"worst": one.worst, "opened": one.opened} for source, one in metered.breakers.items()},
        "breaker_rejected": _sum(increase, DECISIONS.name, 3, Reason.BREAKER_OPEN),
        "configs": {result: _sum(increase, RELOADS.name, 1, result) for result in ("applied", "rejected")},
    }


def _pairs(increase: Increase) -> list[tuple[str, str]]:
    return sorted({(key[1], key[2]) for key, count in increase.items() if key[0] in _BY_SOURCE and count > 0})


def _figures(increase: Increase, layout: Layout, source: str, operation: str) -> dict[str, Any]:
    role = next((str(role) for role, name in layout.names.items() if name == source), source)
    outcomes = _by_last(increase, ATTEMPTS.name, source, operation)
    codes = _by_last(increase, REQUESTS.name, source, operation)
    errors = count_errors(increase, source, operation, confirmable=role == Role.TARGET)
    cache = _by_last(increase, CACHE.name, source, operation)
    shown: dict[str, Any] = {"source": source, "role": role, "operation": operation}
    if role != PROXY_SOURCE:
        shown["attempts"] = {
            "count": sum(count for outcome, count in outcomes.items() if outcome != OUTCOME_CANCELLED),
            "errors": errors.failures,
            "outcomes": outcomes,
            **_times(histogram_of(increase, BUCKET, source, operation)),
        }
        shown["cache"] = {result: cache.get(result, 0) for result in ("hit", "miss")}
    shown["requests"] = {
        "count": sum(codes.values()),
        "errors": count_user_errors(increase, source, operation).failures,
        "codes": codes,
        "truncated": round(increase.get((TRUNCATED.name, source, operation), 0.0)),
        **_times(histogram_of(increase, REQUEST_BUCKET, source, operation)),
    }
    return shown


def _times(cell: Cell) -> dict[str, Any]:
    quantiles = {name: quantile_s(cell, quantile) for name, quantile in _QUANTILES.items()}
    shown = {name: None if seconds is None else round(seconds, 6) for name, seconds in quantiles.items()}
    return {**shown, "buckets": [round(count) for count in cell]}


def _by_last(increase: Increase, name: str, source: str, operation: str) -> dict[str, int]:
    """Counts by the last label, those that are not 0."""
    found = {key[3]: round(n) for key, n in increase.items() if key[:3] == (name, source, operation)}
    return {label: count for label, count in sorted(found.items()) if count}


def _sum(increase: Increase, name: str, place: int, label: str) -> int:
    return round(sum(count for key, count in increase.items() if key[0] == name and key[place] == label))


def _tally_as_json(tally: Tally) -> Mapping[str, int]:
    return {"failures": tally.failures, "total": tally.total}
