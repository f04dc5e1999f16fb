"""PromQL of the sidecar's metrics, as docs/metrics.md defines them. `$legacy` and `$target` are the sources' names."""

from typing import Final

from proxy.telemetry import exposition as metrics

WINDOW: Final = "[$__rate_interval]"
SOURCES: Final = ("$legacy", "$target")

EPIC_TARGET_S: Final = {"get": 0.05, "list": 0.1, "upload": 1.0, "update": 0.08, "delete": 0.1}
"""The epic's p95 of the Image Service; each is a bound of the histograms."""

EPIC_ERRORS: Final = 0.001
ALERT_ERRORS: Final = 0.01
CDN_HITS: Final = 0.85


def rate(family: metrics.Family, **labels: str) -> str:
    """The rate of a counter; a label's value may begin with an operator: `=~`, `!=`, `!~`."""
    return f"rate({selector(family.name, **labels)}{WINDOW})"


def selector(name: str, **labels: str) -> str:
    """A metric of the deployment, selected by labels."""
    told = []
    for label, value in {"job": "$job", **labels}.items():
        operator, plain = (value[:2], value[2:]) if value[:2] in {"=~", "!=", "!~"} else ("=", value)
        told.append(f'{label}{operator}"{plain}"')
    return f"{name}{{{', '.join(told)}}}"


def attempts(source: str, **labels: str) -> str:
    """Attempts a second that ended, but the cancelled."""
    return f"sum({rate(metrics.ATTEMPTS, source=source, outcome='!=cancelled', **labels)})"


def error_ratio(source: str, **labels: str) -> str:
    """The share of attempts that failed; of the target's, 4xx that legacy confirmed are no failures."""
    failed = f"sum({rate(metrics.ATTEMPTS, source=source, outcome='!~ok|cancelled', **labels)})"
    if source == "$target":
        confirmed = rate(metrics.FALLBACKS, result="confirmed", reason="=~status_4..", **labels)
        failed = f"clamp_min({failed} - sum({confirmed}), 0)"
    return f"{failed} / {attempts(source, **labels)}"


def quantile(share: float, source: str, **labels: str) -> str:
    """An estimate of a quantile of the attempts' seconds."""
    buckets = rate_of(f"{metrics.ATTEMPT_DURATION.name}_bucket", source=source, **labels)
    return f"histogram_quantile({share:g}, sum by (le) ({buckets}))"


def within(bound_s: float, source: str, **labels: str) -> str:
    """The share of attempts that took at most so long: exact, as it is a bound."""
    name = metrics.ATTEMPT_DURATION.name
    inside = rate_of(f"{name}_bucket", source=source, le=str(bound_s), **labels)
    return f"sum({inside}) / sum({rate_of(f'{name}_count', source=source, **labels)})"


def rate_of(name: str, **labels: str) -> str:
    """The rate of a series of a histogram."""
    return f"rate({selector(name, **labels)}{WINDOW})"
