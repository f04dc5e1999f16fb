"""The Image Service: what the sidecars see of it, and its Lambda functions."""

from deploy.grafana import cloudwatch as aws
from deploy.grafana import queries as q
from deploy.grafana.panels import TARGET_COLOR, Grid, Look, Query, bad_above, good_above, new_dashboard
from proxy.telemetry import exposition as metrics

TARGET = "$target"


def build() -> Grid:
    """The dashboard."""
    grid = new_dashboard(
        "cutover-image-service",
        "cutover / Image Service",
        "The target as the sidecars see it, and the Lambda functions behind it.",
    )
    _now(grid)
    _seen(grid)
    _lambda(grid)
    return grid


def _now(grid: Grid) -> None:
    steps = ((None, TARGET_COLOR),)
    grid.stat("Requests", [Query(q.attempts(TARGET), "attempts")], Look("reqps", "Attempts.", steps, decimals=1))
    look = Look("percentunit", "The alert is at 1 %.", bad_above(q.ALERT_ERRORS), decimals=2)
    grid.stat("Errors", [Query(q.error_ratio(TARGET), "errors")], look)
    reads = q.within(0.1, TARGET, operation="=~get|list")
    look = Look("percentunit", "The alert is below 95 %.", good_above(0.95), decimals=1)
    grid.stat("Reads ≤ 100 ms", [Query(reads, "reads")], look)
    grid.stat(
        "CDN hits", [Query(hit_ratio(), "hits")], Look("percentunit", "Of reads.", good_above(q.CDN_HITS), decimals=1)
    )
    errors = f"sum(sum_over_time({aws.LAMBDA_ERRORS}[1h]))"
    grid.stat("Lambda errors, 1 h", [Query(errors, "errors")], Look("short", "The target is below 5.", bad_above(5)))
    ratio = f"sum({aws.LAMBDA_ERRORS}) / sum({aws.LAMBDA_INVOCATIONS})"
    look = Look("percentunit", "Of the last minute's invocations.", bad_above(0.01), decimals=2)
    grid.stat("Lambda errors", [Query(ratio, "of invocations")], look)


def hit_ratio() -> str:
    """The share of the target's reads that a CDN answered."""
    hits = q.rate(metrics.CACHE, source=TARGET, operation="=~get|list", result="hit")
    return f"sum({hits}) / sum({q.rate(metrics.CACHE, source=TARGET, operation='=~get|list')})"


def _seen(grid: Grid) -> None:
    grid.row("As the sidecars see it")
    by_operation = Query(
        f"sum by (operation) ({q.rate(metrics.ATTEMPTS, source=TARGET, outcome='!=cancelled')})", "{{operation}}"
    )
    grid.graph("Attempts by operation", [by_operation], Look("reqps", "But the cancelled.", stacked=True))
    failures = Query(
        f"sum by (outcome) ({q.rate(metrics.ATTEMPTS, source=TARGET, outcome='!~ok|cancelled')}) > 0", "{{outcome}}"
    )
    grid.graph(
        "Failures by outcome", [failures], Look("reqps", "404s that legacy confirmed are in here.", stacked=True)
    )
    buckets = q.rate_of(f"{metrics.ATTEMPT_DURATION.name}_bucket", source=TARGET)
    p95 = f"histogram_quantile(0.95, sum by (le, operation) ({buckets}))"
    grid.graph("p95 by operation", [Query(p95, "{{operation}}", exemplars=True)], Look("s", "With exemplars."))
    cancelled = Query(f"sum({q.rate(metrics.ATTEMPTS, source=TARGET, outcome='cancelled')})", "cancelled")
    truncated = Query(f"sum({q.rate(metrics.TRUNCATED, source=TARGET)})", "broken off after commit")
    about = "Cancelled: the client left, or legacy was first. Broken off: the client got half an answer."
    grid.graph("Without an end", [cancelled, truncated], Look("reqps", about))
    states = Query(f"sum by (state) ({q.selector(metrics.UPSTREAM_CONNECTIONS.name, source=TARGET)})", "{{state}}")
    grid.graph("Connections", [states], Look("short", "Of all sidecars.", stacked=True))
    inflight = Query(f"sum({q.selector(metrics.INFLIGHT.name, source=TARGET)})", "in flight", TARGET_COLOR)
    grid.graph("In flight", [inflight], Look("short", "Attempts under way."))


def _lambda(grid: Grid) -> None:
    grid.row("Lambda (CloudWatch)")
    name = "{{function_name}}"
    invocations = Query(f"sum by (function_name) ({aws.LAMBDA_INVOCATIONS})", name)
    grid.graph("Invocations a minute", [invocations], Look("short", "", stacked=True))
    grid.graph(
        "Errors a minute",
        [Query(f"sum by (function_name) ({aws.LAMBDA_ERRORS})", name)],
        Look("short", "", stacked=True),
    )
    throttles = Query(f"sum by (function_name) ({aws.LAMBDA_THROTTLES})", name)
    grid.graph("Throttles a minute", [throttles], Look("short", "", stacked=True))
    average = Query(f"avg by (function_name) ({aws.LAMBDA_DURATION_AVERAGE})", f"{name} average")
    longest = Query(f"max by (function_name) ({aws.LAMBDA_DURATION_MAXIMUM})", f"{name} longest", dashed=True)
    grid.graph("Duration", [average, longest], Look("ms", "Cold starts show in the longest."), w=12)
    concurrent = Query(f"max by (function_name) ({aws.LAMBDA_CONCURRENT})", name)
    grid.graph("Concurrent executions", [concurrent], Look("short", ""), w=12)
