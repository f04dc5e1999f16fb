"""What `cutover migrate` and `cutover verify` count while they run, on a port of their own (`--metrics`).

These are processes that end: their metrics are for watching one run, and are not the sidecar's.
Neighbours: `proxy.migration` counts, `cli.migrate` and `cli.verify` open the port.
"""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

ROWS: Final = "cutover_migration_rows"
RESULTS: Final = ("read", "written", "skipped_newer", "rejected")
ITEMS: Final = "cutover_verification_items"
VERDICTS: Final = ("compared", "missing", "extra", "different")


class _Port:
    """A registry behind a port."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

    def serve(self, host: str, port: int) -> None:
        """Open the port; the process's end closes it. Raises OSError."""
        start_http_server(port, host, registry=self.registry)


class MigrationMetrics(_Port):
    """Of one migration. Counters begin with what earlier runs of a resumed migration had done."""

    def __init__(self) -> None:
        super().__init__()
        self._rows = Counter(ROWS, "Rows, by what became of them.", ["result"], registry=self.registry)
        self._units = Counter("cutover_migration_write_units", "Write units, as computed.", registry=self.registry)
        self._throttles = Counter("cutover_migration_throttles", "Requests throttled.", registry=self.registry)
        self._retries = Counter("cutover_migration_retries", "Requests repeated.", registry=self.registry)
        self._expected = Gauge(
            "cutover_migration_expected_rows", "Rows, as PostgreSQL estimates.", registry=self.registry
        )
        self._before: dict[str, float] = {}
        for result in RESULTS:
            self._rows.labels(result)

    def expect(self, rows: float) -> None:
        """There are about so many rows."""
        self._expected.set(rows)

    def totals(self, totals: dict[str, float]) -> None:
        """The totals up to now: RESULTS, `write_units`, `throttles`, `retries`."""
        others = {"write_units": self._units, "throttles": self._throttles, "retries": self._retries}
        for name, total in totals.items():
            counter = others.get(name) or self._rows.labels(name)
            counter.inc(max(0.0, total - self._before.get(name, 0.0)))
        self._before |= totals


class VerificationMetrics(_Port):
    """Of one verification."""

    def __init__(self) -> None:
        super().__init__()
        self._items = Counter(ITEMS, "Items compared, and those not the same.", ["verdict"], registry=self.registry)
        self._doubted = Gauge(
            "cutover_verification_doubted_items", "Not the same at first; to be read again.", registry=self.registry
        )
        for verdict in VERDICTS:
            self._items.labels(verdict)

    def count(self, verdict: str, number: int = 1) -> None:
        """So many more."""
        self._items.labels(verdict).inc(number)

    def doubted(self, number: int) -> None:
        """So many are to be read again."""
        self._doubted.set(number)
