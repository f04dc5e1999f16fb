"""What cutover is to reach beside the others, and whether it did."""

from dataclasses import dataclass
from typing import Final

from bench.compare.results import Results


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on a ratio of two contestants' medians."""

    scenario: str
    figure: str
    above: str
    below: str
    bound: float
    says: str
    at_least: bool = False

    def met(self, ratio: float) -> bool:
        return ratio >= self.bound if self.at_least else ratio <= self.bound

    @property
    def bound_text(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}"


@dataclass(frozen=True, slots=True)
class Judged:
    """A target and what was found: the ratio with the lowest and highest of the rounds, or None."""

    target: Target
    ratio: tuple[float, float, float] | None

    @property
    def verdict(self) -> str:
        if self.ratio is None:
            return "not measured"
        return "met" if self.target.met(self.ratio[0]) else "MISSED"


TARGETS: Final = (
    Target("c64", "cpu_us", "cutover", "envoy", 0.6, "CPU per request, cutover / Envoy"),
    Target("c64", "cpu_us", "cutover", "nginx", 1.5, "CPU per request, cutover / nginx"),
    Target("c64", "cpu_us", "cutover", "haproxy", 1.5, "CPU per request, cutover / HAProxy"),
    Target("c64", "cpu_us", "aiohttp", "cutover", 5.0, "CPU per request, aiohttp proxy / cutover", at_least=True),
    Target("1MiB", "mb_s", "nginx", "cutover", 1.3, "throughput of 1 MiB bodies, nginx / cutover"),
    Target("100MiB", "mb_s", "nginx", "cutover", 1.3, "throughput of 100 MiB bodies, nginx / cutover"),
    Target("idle", "kib_each", "cutover", "envoy", 1.0, "memory per idle connection, cutover / Envoy"),
)


def judge(results: Results) -> list[Judged]:
    """Every target, measured or not."""
    return [
        Judged(target, results.ratio(target.scenario, target.figure, target.above, target.below)) for target in TARGETS
    ]
