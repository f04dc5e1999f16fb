"""DynamoDB, from CloudWatch: capacity, throttles, latency."""

from deploy.grafana import cloudwatch as aws
from deploy.grafana.panels import Grid, Look, Query, bad_above, new_dashboard

TABLE, OPERATION = "{{table_name}}", "{{table_name}} {{operation}}"


def build() -> Grid:
    """The dashboard."""
    grid = new_dashboard(
        "cutover-dynamodb", "cutover / DynamoDB", "The Image Service's tables, by CloudWatch.", sources=False
    )
    throttled = f"sum(sum_over_time({aws.THROTTLED}[1h])) or vector(0)"
    look = Look("short", "The target is none. Absent until there is one.", bad_above(1))
    grid.stat("Throttled requests, 1 h", [Query(throttled, "throttled")], look, w=6)
    failed = f"sum(sum_over_time({aws.SYSTEM_ERRORS}[1h])) or vector(0)"
    grid.stat("System errors, 1 h", [Query(failed, "errors")], Look("short", "DynamoDB's own 5xx.", bad_above(1)), w=6)
    for title, metric in (("Read units a second", aws.READ_UNITS), ("Write units a second", aws.WRITE_UNITS)):
        look = Look("short", "Of all tables, the last minute.", ((None, "blue"),), decimals=1)
        grid.stat(title, [Query(f"sum({metric}) / 60", "units")], look, w=6)

    grid.row("Capacity and throttles")
    for title, metric in (("Read capacity", aws.READ_UNITS), ("Write capacity", aws.WRITE_UNITS)):
        units = Query(f"sum by (table_name) ({metric}) / 60", TABLE)
        grid.graph(title, [units], Look("short", "Units a second, by the minute.", stacked=True), w=12)
    requests = Query(f"sum by (table_name, operation) ({aws.THROTTLED})", OPERATION)
    grid.graph("Throttled requests a minute", [requests], Look("short", "", stacked=True))
    reads = Query(f"sum by (table_name) ({aws.READ_THROTTLES})", f"{TABLE} reads")
    writes = Query(f"sum by (table_name) ({aws.WRITE_THROTTLES})", f"{TABLE} writes")
    about = "Each item that was refused; a batch is one request and many events."
    grid.graph("Throttle events a minute", [reads, writes], Look("short", about, stacked=True))
    errors = Query(f"sum by (table_name, operation) ({aws.SYSTEM_ERRORS})", OPERATION)
    grid.graph("System errors a minute", [errors], Look("short", "", stacked=True))

    grid.row("Latency")
    average = Query(f"avg by (table_name, operation) ({aws.LATENCY_AVERAGE})", OPERATION)
    grid.graph("Average latency", [average], Look("ms", "Successful requests, inside DynamoDB."), w=12)
    longest = Query(f"max by (table_name, operation) ({aws.LATENCY_MAXIMUM})", OPERATION)
    grid.graph("Longest latency", [longest], Look("ms", "The worst of each minute."), w=12)
    return grid
