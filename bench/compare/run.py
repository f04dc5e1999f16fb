"""A whole run: stage by stage, round by round, contestant by contestant."""

import argparse
import contextlib
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from bench.compare import wrk
from bench.compare.contestants.base import Contestant
from bench.compare.machine import Pinning, machine_facts
from bench.compare.measure import Extent, measure_closed, measure_idle, measure_outage, measure_rate
from bench.compare.progress import Progress
from bench.compare.results import Results
from bench.compare.scenarios import SCENARIOS, Scenario, stages
from bench.compare.stage import Builder, Runner, Stage, Terms

T = TypeVar("T")
SPARE_DESCRIPTORS: Final = 400
QUICK_IDLE: Final = 3000
OUTAGE_S: Final = (5.0, 10.0, 12.0)
QUICK_OUTAGE_S: Final = (1.0, 3.0, 5.0)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be measured, and how long."""

    contestants: list[Contestant]
    scenarios: list[Scenario]
    rounds: int
    extent: Extent
    quick: bool

    @classmethod
    def of(cls, options: argparse.Namespace, contestants: list[Contestant]) -> "Plan":
        wanted = options.scenario or [x.name for x in SCENARIOS if x.quick or not options.quick]
        extent = Extent(
            seconds=options.seconds,
            rate=options.rate,
            idle_connections=_fitting(QUICK_IDLE if options.quick else options.idle),
            outage_rate=200.0,
            outage_s=QUICK_OUTAGE_S if options.quick else OUTAGE_S,
        )
        chosen = [x for x in SCENARIOS if x.name in wanted]
        return cls(contestants, chosen, options.rounds, extent, options.quick)

    def rounds_of(self, scenario: Scenario) -> int:
        """An outage is shown as one line of time; idle memory hardly varies, and needs a fresh process each time."""
        if scenario.kind == "outage" or (scenario.kind == "idle" and self.quick):
            return 1
        return min(3, self.rounds) if scenario.kind == "idle" else self.rounds

    def takes_part(self, contestant: Contestant, scenario: Scenario) -> bool:
        return not scenario.only or contestant.name in scenario.only

    def steps(self) -> int:
        return sum(
            self.rounds_of(scenario) * sum(self.takes_part(x, scenario) for x in self.contestants)
            for scenario in self.scenarios
        )

    def options(self) -> dict[str, Any]:
        return {
            "rounds": self.rounds,
            "seconds": self.extent.seconds,
            "rate": self.extent.rate,
            "outage_rate": self.extent.outage_rate,
            "outage_s": list(self.extent.outage_s),
            "quick": self.quick,
        }


def run(plan: Plan, pinning: Pinning, directory: Path) -> Results:
    """Everything of the plan. Processes end with it, also when it is broken off."""
    present = [x for x in plan.contestants if not x.missing()]
    results = Results(
        machine=machine_facts(pinning),
        options=plan.options(),
        versions={
            x.name: x.version() for x in present if x.name not in ("cutover-bare", "cutover-pure", "nginx-error-page")
        }
        | {"wrk": wrk.version()},
        labels={x.name: x.label for x in plan.contestants},
    )
    progress = Progress(plan.steps())
    builder = Builder(directory, pinning, progress.say)
    for terms, scenarios in stages(plan.scenarios):
        for scenario in scenarios:
            results.titles[scenario.name] = scenario.title
            for contestant in plan.contestants:
                if contestant not in present and plan.takes_part(contestant, scenario):
                    results.leave_out(scenario.name, contestant.name, f"{contestant.missing()}")
        progress.note(", ".join(each.name for each in scenarios) + " …")
        Act(plan, results, progress, builder).play(terms, scenarios, present)
    progress.clear()
    return results


@dataclass(frozen=True, slots=True)
class Act:
    """The scenarios of one stage."""

    plan: Plan
    results: Results
    progress: Progress
    builder: Builder

    def play(self, terms: Terms, scenarios: list[Scenario], present: list[Contestant]) -> None:
        first = scenarios[0]
        rounds = self.plan.rounds_of(first)
        taking = [x for x in present if self.plan.takes_part(x, first)]
        if first.kind in ("closed", "rate"):
            with self._stage(terms, scenarios, taking) as stage:
                for number in range(rounds):
                    for scenario in scenarios:
                        for runner in _turned(stage.runners, number):
                            self._measure(scenario, runner, stage, number + 1)
            return
        for number in range(rounds):  # each needs contestants that have not been measured yet
            for contestant in _turned(taking, number):
                with self._stage(terms, scenarios, [contestant]) as stage:
                    for runner in stage.runners:
                        self._measure(first, runner, stage, number + 1)

    @contextlib.contextmanager
    def _stage(self, terms: Terms, scenarios: list[Scenario], taking: list[Contestant]) -> Iterator[Stage]:
        with self.builder.stage(terms, taking) as stage:
            for scenario in scenarios:
                for name, reason in stage.left_out.items():
                    self.results.leave_out(scenario.name, name, reason)
            if terms == Terms():
                self.results.shares |= stage.shares
            yield stage

    def _measure(self, scenario: Scenario, runner: Runner, stage: Stage, number: int) -> None:
        name = runner.contestant.name
        what = f"{scenario.name}, round {number}, {runner.contestant.label}"
        self.progress.say(what)
        extent = self.plan.extent
        try:
            match scenario.kind:
                case "closed":
                    figures = measure_closed(runner, scenario, extent)
                case "rate":
                    figures = measure_rate(runner, scenario, extent)
                case "idle":
                    figures = measure_idle(runner, extent)
                case "outage":
                    figures, self.results.time_lines[name] = measure_outage(runner, stage, extent)
        except (wrk.LoadFailed, OSError, ValueError) as problem:
            self.results.leave_out(scenario.name, name, str(problem))
            self.progress.step(what, f"failed: {problem}")
            return
        self.results.add(scenario.name, name, figures)
        key = next(each for each in ("cpu_us", "cpu_us_per_mib", "kib_each", "slow") if each in figures)
        self.progress.step(what, f"{key} {figures[key]:.1f}")


def _turned(items: list[T], by: int) -> list[T]:
    at = by % len(items) if items else 0
    return items[at:] + items[:at]


def _fitting(connections: int) -> int:
    """Raise the limit of open files, and keep within what it allows a proxy: two for each connection."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return connections if hard < 0 else min(connections, hard // 2 - SPARE_DESCRIPTORS)
