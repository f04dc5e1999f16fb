"""The rollout: who is where, why, what falls back, and whether all sidecars agree."""

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
)
from proxy.telemetry import exposition as metrics

SPLIT = "=~bucket|percentage|anonymous|breaker_open"
IN_FORCE = f"{q.selector(metrics.PERCENTAGE.name)} * {q.selector(metrics.ENABLED.name)}"


def build() -> Grid:
    """The dashboard."""
    grid = new_dashboard(
        "cutover-rollout", "cutover / Rollout", "Percentage, decisions, fallbacks, breaker, configurations."
    )
    annotate(grid, "Percentage changed", f"changes({q.selector(metrics.PERCENTAGE.name)}[1m]) > 0", "purple")
    read = q.selector(metrics.RELOAD_TIMESTAMP.name)
    annotate(grid, "Configuration read", f"changes({read}[1m]) > 0", "green")
    annotate(grid, "Breaker rejecting", f"max by (source) ({q.selector(metrics.BREAKER_STATE.name)}) == 2", "red")
    _now(grid)
    _who(grid)
    _failures(grid)
    _configuration(grid)
    return grid


def decided_for_target() -> str:
    """Split requests a second that the target was asked for first."""
    return f"sum({q.rate(metrics.DECISIONS, source='$target', reason=SPLIT)})"


def _now(grid: Grid) -> None:
    look = Look("percent", "0 while not enabled.", ((None, TARGET_COLOR),))
    grid.stat("Percentage", [Query(f"max({IN_FORCE})", "of the users")], look)
    apart = Look("percent", "Between the sidecars; 0 when they agree.", bad_above(1))
    grid.stat("Apart", [Query(f"max({IN_FORCE}) - min({IN_FORCE})", "points")], apart)
    served = q.rate(metrics.FALLBACKS, result="=~served|failed")
    fallbacks = f"sum({served}) / sum({q.rate(metrics.DECISIONS, source='$target')})"
    look = Look(
        "percentunit", "Of the requests meant for the target. The alert is at 1 %.", bad_above(0.01), decimals=2
    )
    grid.stat("Fallbacks", [Query(fallbacks, "of the target's")], look)
    breaker = Query(f"max({q.selector(metrics.BREAKER_STATE.name)})", "the worst")
    look = Look("short", "0 admitting, 1 probing, 2 rejecting.", ((None, "green"), (1, "orange"), (2, "red")))
    grid.stat("Breaker", [breaker], look)
    revisions = Query(f"count(count by (revision) ({q.selector(metrics.CONFIG_INFO.name)}))", "revisions")
    grid.stat("Revisions", [revisions], Look("short", "In force; one when all sidecars agree.", bad_above(2)))
    accepted = Query(f"min({q.selector(metrics.RELOAD_SUCCESSFUL.name)})", "accepted")
    grid.stat("Last reload", [accepted], Look("short", "0 when some sidecar rejected it.", good_above(1)))


def _who(grid: Grid) -> None:
    grid.row("Who is where")
    percentage = Query(IN_FORCE, "{{instance}}")
    look = Look("percent", "In force, for each sidecar.", stepped=True, maximum=100)
    grid.graph("Percentage", [percentage], look, w=12, h=8)
    every = f"sum({q.rate(metrics.DECISIONS, reason=SPLIT)})"
    share = Query(f"{decided_for_target()} / {every}", "of the requests", TARGET_COLOR)
    wanted = Query(f"max({IN_FORCE}) / 100", "of the buckets", "text", dashed=True)
    about = "Of the requests that are split. Users are not equally busy, so the two differ somewhat."
    grid.graph("Share of the target", [share, wanted], Look("percentunit", about, maximum=1), w=12, h=8)
    reasons = Query(f"sum by (source, reason) ({q.rate(metrics.DECISIONS)}) > 0", "{{source}} {{reason}}")
    about = "Which source was asked first, and why."
    grid.graph("Decisions by reason", [reasons], Look("reqps", about, stacked=True), w=12)
    first = [
        Query(f"sum({q.rate(metrics.DECISIONS, source=source)})", source, color)
        for source, color in (("$legacy", LEGACY_COLOR), ("$target", TARGET_COLOR))
    ]
    grid.graph("Asked first", first, Look("reqps", "Decisions by source.", stacked=True), w=12)


def _failures(grid: Grid) -> None:
    grid.row("When the target fails")
    reasons = Query(f"sum by (reason) ({q.rate(metrics.FALLBACKS, result='!=suppressed')}) > 0", "{{reason}}")
    grid.graph("Fallbacks by reason", [reasons], Look("reqps", "All that legacy was asked for.", stacked=True))
    results = Query(f"sum by (result) ({q.rate(metrics.FALLBACKS)})", "{{result}}")
    about = "confirmed: legacy gave the same status; suppressed: it could not be asked again."
    grid.graph("Fallbacks by result", [results], Look("reqps", about, stacked=True))
    winners = Query(f"sum by (winner) ({q.rate(metrics.HEDGES)})", "{{winner}} first")
    grid.graph("Hedges", [winners], Look("reqps", "Legacy was asked too, because the target was slow.", stacked=True))
    states = Query(f"max by (instance) ({q.selector(metrics.BREAKER_STATE.name, source='$target')})", "{{instance}}")
    steps = ((None, "green"), (1, "orange"), (2, "red"))
    words = {"0": "admitting", "1": "probing", "2": "rejecting"}
    grid.states("Breaker", [states], Look("short", "Of each sidecar, its worst worker's.", steps), words, w=16)
    truncated = Query(f"sum by (source) ({q.rate(metrics.TRUNCATED)})", "{{source}}")
    grid.graph("Broken off after commit", [truncated], Look("reqps", "The client got no valid end."))


def _configuration(grid: Grid) -> None:
    grid.row("Configurations and sidecars")
    revisions = Query(f"count by (revision) ({q.selector(metrics.CONFIG_INFO.name)})", "{{revision}}")
    look = Look("short", "Sidecars with each revision in force.", stacked=True, stepped=True)
    grid.graph("Revisions", [revisions], look)
    reloads = Query(f"sum by (result) (increase({q.selector(metrics.RELOADS.name)}{q.WINDOW}))", "{{result}}")
    grid.graph("Reloads", [reloads], Look("short", "Configurations read.", stacked=True))
    age = Query(f"time() - {q.selector(metrics.RELOAD_TIMESTAMP.name)}", "{{instance}}")
    grid.graph("Since the last reload", [age], Look("s", "Of each sidecar."))
    errors = Query(f"sum by (kind) ({q.rate(metrics.CLIENT_ERRORS)}) > 0", "{{kind}}")
    grid.graph("Clients' errors", [errors], Look("reqps", "Refused, cut off or corrected.", stacked=True))
    clients = Query(q.selector(metrics.DOWNSTREAM_CONNECTIONS.name), "{{instance}}")
    grid.graph("Client connections", [clients], Look("short", "Of each sidecar."))
    dropped = Query(f"sum({q.rate(metrics.LOG_LINES_DROPPED)})", "lines")
    grid.graph("Log lines dropped", [dropped], Look("short", "A second; the log's reader is slow or gone."))
