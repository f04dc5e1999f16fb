"""What is measured: the list of scenarios, and the terms under which each stage of them runs."""

from dataclasses import dataclass
from typing import Final, Literal

from bench.compare.stage import Terms
from bench.compare.upstreams import BODIES

MIB: Final = 1024 * 1024
OUTAGE_TIMEOUT_S: Final = 1.0
Kind = Literal["closed", "rate", "idle", "outage"]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One way of loading every contestant."""

    name: str
    title: str
    kind: Kind = "closed"
    body: str = "500B"
    connections: int = 64
    terms: Terms = Terms()  # noqa: RUF009 - a frozen value
    only: frozenset[str] = frozenset()
    """Who takes part; empty: everybody."""
    quick: bool = False
    least_s: float = 1.0
    """A measurement takes at least so long: a request of the largest body takes seconds."""

    @property
    def path(self) -> str:
        return f"/images/{self.body}"

    @property
    def large(self) -> bool:
        """Whether the bodies are what costs."""
        return self.kind == "closed" and BODIES[self.body] >= 64 * 1024


SCENARIOS: Final = (
    Scenario("c1", "500 B, 1 connection", connections=1),
    Scenario("c64", "500 B, 64 connections", quick=True),
    Scenario("c512", "500 B, 512 connections", connections=512),
    Scenario("64KiB", "64 KiB, 16 connections", body="64KiB", connections=16),
    Scenario("1MiB", "1 MiB, 16 connections", body="1MiB", connections=16, quick=True),
    Scenario("100MiB", "100 MiB, 16 connections", body="100MiB", connections=16, least_s=8.0),
    Scenario("rate", "500 B at a fixed rate, open model", kind="rate", quick=True),
    Scenario("tls", "500 B, 64 connections, TLS to the upstreams", terms=Terms(tls=True, fallback_checked=False)),
    Scenario(
        "two-workers",
        "500 B, 64 connections, two workers",
        terms=Terms(workers=2, fallback_checked=False),
        only=frozenset({"cutover", "nginx", "haproxy", "envoy"}),
    ),
    Scenario(
        "idle",
        "idle keep-alive connections",
        kind="idle",
        terms=Terms(fallback_checked=False, warmed=False),
        only=frozenset({"cutover", "nginx", "haproxy", "envoy", "aiohttp"}),
        quick=True,
    ),
    Scenario(
        "outage",
        "the target falls silent, 100 % of the users on it",
        kind="outage",
        terms=Terms(percentage=100, attempt_timeout_s=OUTAGE_TIMEOUT_S, fallback_checked=False, warmed=False),
        only=frozenset({"cutover", "nginx", "nginx-error-page", "haproxy", "envoy"}),
        quick=True,
    ),
)
"""In the order in which they run; neighbours under the same terms share a stage, and its rounds interleave."""


def stages(chosen: list[Scenario]) -> list[tuple[Terms, list[Scenario]]]:
    """Group what can run on the same started contestants: loads by terms; the other kinds each alone."""
    groups: list[tuple[Terms, list[Scenario]]] = []
    for scenario in chosen:
        last = groups[-1][1] if groups else []
        loads = scenario.kind in ("closed", "rate")
        if last and loads and last[-1].kind in ("closed", "rate") and last[-1].terms == scenario.terms:
            last.append(scenario)
        else:
            groups.append((scenario.terms, [scenario]))
    return groups
