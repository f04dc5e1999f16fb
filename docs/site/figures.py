"""The metric reference: every family and its label values, as the shipped configuration exposes them.

Neighbours: `parts`; `proxy.telemetry.exposition`, which has the names, and `proxy.telemetry.labels`, the values.
"""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from prometheus_client import Metric

from docs.site.tables import code, codes, table
from proxy.engine import label_space
from proxy.settings.load import load_settings
from proxy.settings.snapshot import compile_snapshot
from proxy.telemetry import exposition
from proxy.telemetry.exposition import Family, StateCollector
from proxy.telemetry.metrics import Metrics

_CONFIGURATION: Final = Path(__file__).resolve().parents[2] / "config" / "cutover.yaml"
# What no figure's label says, or what a deployment gives its own value.
_EXPLAINED: Final = {
    "source": "the sources' `name`; `proxy` in `cutover_requests_total` for an error made here",
    "operation": "the configuration's operations; `other` for what none matches",
    "code": "those that can be foreseen exist at 0; any other from 100 to 599 as it occurs",
    "revision": "the configuration in force: the first 12 hex digits of the file's SHA-256",
    "version": "of cutover",
    "python": "of Python",
}
_SHARED: Final = ("source", "operation")  # these mean the same in every metric
_OF_THE_DAY: Final = ("revision", "version", "python")


def families() -> str:
    """Every metric of cutover's own."""
    types = {_name(family): family.type for family in _collected()}
    told = [one for one in vars(exposition).values() if isinstance(one, Family)]
    rows = ((code(one.name), types[one.name], codes(one.labels), one.help) for one in told)
    return table(("metric", "type", "labels", "counts or shows"), rows)


def label_values() -> str:
    """What each label can say under the shipped configuration, and how many series there are at the start."""
    values: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    series = 0
    for family in _collected():
        series += len(family.samples)
        for sample in family.samples:
            for label, value in sample.labels.items():
                values[label, "" if label in _SHARED else _name(family)].setdefault(value)
    rows = []
    for (label, metric), found in sorted(values.items()):
        if label != "le":
            shown = "" if label in _OF_THE_DAY else codes(found)
            rows.append((code(label), code(metric), shown, _EXPLAINED.get(label, "")))
    counted = f"With `config/cutover.yaml` there are {series:,} series at the start, buckets included.\n\n"
    return counted + table(("label", "of", "values with `config/cutover.yaml`", "is"), rows)


def _collected() -> Iterable[Metric]:
    """The families of a sidecar that has just started with the shipped configuration."""
    loaded = load_settings(_CONFIGURATION, {})
    metrics = Metrics()
    metrics.apply(label_space(compile_snapshot(loaded.settings, loaded.revision)))
    return list(StateCollector(metrics.snapshot, "0", "0").collect())


def _name(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name
