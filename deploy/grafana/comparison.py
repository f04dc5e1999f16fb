"""PostgreSQL beside the Image Service, operation by operation, against the epic's targets."""

from deploy.grafana import queries as q
from deploy.grafana.panels import (
    LEGACY_COLOR,
    TARGET_COLOR,
    Grid,
    Look,
    Query,
    annotate,
    bad_above,
    good_above,
    new_dashboard,
    shades,
)
from proxy.telemetry import exposition as metrics

COLORS = {"$legacy": LEGACY_COLOR, "$target": TARGET_COLOR}
_P95 = "Attempts: what the source itself took. A fallback's wait for the target is not legacy's fault."


def build() -> Grid:
    """The dashboard."""
    grid = new_dashboard(
        "cutover-comparison",
        "cutover / Comparison",
        "The legacy source and the target side by side. Orange is legacy, blue is the target.",
    )
    changed = f"changes({q.selector(metrics.PERCENTAGE.name)}[1m]) > 0"
    annotate(grid, "Percentage changed", changed, "purple")
    _now(grid)
    for operation, bound_s in q.EPIC_TARGET_S.items():
        _operation(grid, operation, bound_s)
    return grid


def _now(grid: Grid) -> None:
    percentage = Query(
        f"max({q.selector(metrics.PERCENTAGE.name)} * {q.selector(metrics.ENABLED.name)})", "of the users"
    )
    steps = ((None, TARGET_COLOR),)
    grid.stat("On the target", [percentage], Look("percent", "0 while the rollout is not enabled.", steps))
    for source in q.SOURCES:
        rate = Query(q.attempts(source), source)
        grid.stat(f"{source}: requests", [rate], Look("reqps", _P95, ((None, COLORS[source]),), decimals=1))
    for source in q.SOURCES:
        errors = Query(q.error_ratio(source), source)
        about = "Failed attempts; a 4xx of the target that legacy confirmed is none. The epic's target: 0.1 %."
        grid.stat(f"{source}: errors", [errors], Look("percentunit", about, bad_above(q.EPIC_ERRORS), decimals=2))
    failed = f"sum({q.rate(metrics.REQUESTS, code='=~5..')}) / sum({q.rate(metrics.REQUESTS, code='!=499')})"
    about = "Answers with 5xx, whoever made them: what users see, after fallbacks."
    grid.stat("5xx to users", [Query(failed, "5xx")], Look("percentunit", about, bad_above(q.EPIC_ERRORS), decimals=2))

    for source in q.SOURCES:
        shares = [
            Query(q.within(bound_s, source, operation=operation), f"{operation} ≤ {bound_s * 1000:g} ms")
            for operation, bound_s in q.EPIC_TARGET_S.items()
        ]
        about = "The share of attempts within the epic's p95 target: green from 95 %. Exact, not interpolated."
        look = Look("percentunit", about, good_above(0.95), maximum=1, decimals=1)
        grid.bars(f"{source}: within the target", shares, look)
    codes = Query(f"sum by (source, code) ({q.rate(metrics.REQUESTS)}) > 0", "{{source}} {{code}}")
    about = "Who answered, and what. proxy: an error made by the sidecar; 499: the client left."
    grid.graph("Answers by status", [codes], Look("reqps", about, stacked=True), w=6, h=8)
    inflight = [
        Query(f"sum({q.selector(metrics.INFLIGHT.name, source=source)})", source, COLORS[source])
        for source in q.SOURCES
    ]
    grid.graph("In flight", inflight, Look("short", "Attempts under way."), w=6, h=8)


def _operation(grid: Grid, operation: str, bound_s: float) -> None:
    grid.row(f"{operation}: p95 ≤ {bound_s * 1000:g} ms")
    rates = [Query(q.attempts(source, operation=operation), source, COLORS[source]) for source in q.SOURCES]
    grid.graph(f"{operation}: rate", rates, Look("reqps", "Attempts that ended."))
    errors = [Query(q.error_ratio(source, operation=operation), source, COLORS[source]) for source in q.SOURCES]
    look = Look(
        "percentunit", "Failed attempts; the line is the alert's 1 %.", bad_above(q.ALERT_ERRORS), show_steps=True
    )
    grid.graph(f"{operation}: errors", errors, look)
    latencies = [
        Query(
            q.quantile(share, source, operation=operation),
            f"{source} p{share * 100:g}",
            shade,
            dashed=share != 0.95,
            exemplars=share == 0.95,
        )
        for source in q.SOURCES
        for share, shade in zip((0.5, 0.95, 0.99), shades(COLORS[source]), strict=True)
    ]
    about = f"{_P95} The line is the epic's target; p95 is drawn solid."
    grid.graph(f"{operation}: latency", latencies, Look("s", about, bad_above(bound_s), show_steps=True))
