"""CloudFront: its own figures from CloudWatch, beside what the sidecars see of it."""

from deploy.grafana import cloudwatch as aws
from deploy.grafana import queries as q
from deploy.grafana.image_service import TARGET, hit_ratio
from deploy.grafana.panels import TARGET_COLOR, Grid, Look, Query, bad_above, good_above, new_dashboard
from proxy.telemetry import exposition as metrics

DISTRIBUTION = "{{distribution_id}}"
FAILED = f"{aws.CDN_5XX} / 100 * {aws.CDN_REQUESTS}"


def build() -> Grid:
    """The dashboard."""
    grid = new_dashboard(
        "cutover-cloudfront",
        "cutover / CloudFront",
        "The CDN in front of the Image Service, by CloudWatch and as seen.",
    )
    steps = ((None, TARGET_COLOR),)
    requests = f"sum({aws.CDN_REQUESTS}) / 60"
    grid.stat("Requests", [Query(requests, "requests")], Look("reqps", "The last minute.", steps, decimals=1), w=6)
    seen = Query(hit_ratio(), "seen")
    look = Look("percentunit", "Reads, by what the CDN tells the sidecars.", good_above(q.CDN_HITS), decimals=1)
    grid.stat("Hits, as seen", [seen], look, w=6)
    told = Query(f"avg({aws.CDN_HIT_RATE}) / 100", "told")
    look = Look("percentunit", "CloudFront's own, of all viewers.", good_above(q.CDN_HITS), decimals=1)
    grid.stat("Hits, by CloudFront", [told], look, w=6)
    failed = Query(f"sum(sum_over_time(({FAILED})[1h:1m]))", "5xx")
    look = Look("short", "Error rate times requests. The target is at most 10.", bad_above(10), decimals=0)
    grid.stat("5xx, 1 h", [failed], look, w=6)

    grid.row("CloudWatch")
    by_distribution = Query(f"sum by (distribution_id) ({aws.CDN_REQUESTS}) / 60", DISTRIBUTION)
    grid.graph("Requests a second", [by_distribution], Look("reqps", "", stacked=True))
    client = Query(f"avg by (distribution_id) ({aws.CDN_4XX}) / 100", f"{DISTRIBUTION} 4xx")
    server = Query(f"avg by (distribution_id) ({aws.CDN_5XX}) / 100", f"{DISTRIBUTION} 5xx")
    grid.graph("Error rates", [client, server], Look("percentunit", ""))
    errors = Query(f"sum by (distribution_id) ({FAILED})", DISTRIBUTION)
    grid.graph("5xx a minute", [errors], Look("short", "Error rate times requests."))
    hits = Query(f"avg by (distribution_id) ({aws.CDN_HIT_RATE}) / 100", DISTRIBUTION)
    look = Look("percentunit", "", good_above(q.CDN_HITS), show_steps=True, maximum=1)
    grid.graph("Cache hit rate", [hits], look)
    origin = Query(f"avg by (distribution_id) ({aws.CDN_ORIGIN_LATENCY})", DISTRIBUTION)
    grid.graph("Origin latency", [origin], Look("ms", "From the request to the first byte of what it had to fetch."))
    sent = Query(f"sum by (distribution_id) ({aws.CDN_BYTES}) / 60", DISTRIBUTION)
    grid.graph("Sent", [sent], Look("Bps", ""))

    grid.row("As the sidecars see it")
    results = Query(f"sum by (result) ({q.rate(metrics.CACHE, source=TARGET)})", "{{result}}")
    about = "X-Cache, CF-Cache-Status or Age of the answers that were passed on."
    grid.graph("Hits and misses", [results], Look("reqps", about, stacked=True), w=12)
    every = q.rate(metrics.CACHE, source=TARGET)
    some = q.rate(metrics.CACHE, source=TARGET, result="hit")
    by_operation = Query(f"sum by (operation) ({some}) / (sum by (operation) ({every}) > 0)", "{{operation}}")
    look = Look(
        "percentunit", "The line is the epic's 85 %, for reads.", good_above(q.CDN_HITS), show_steps=True, maximum=1
    )
    grid.graph("Hit ratio by operation", [by_operation], look, w=12)
    return grid
