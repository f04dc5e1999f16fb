"""Two upstreams and the contestants in front of them, for as long as a group of scenarios needs them."""

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.compare import wrk
from bench.compare.contestants.base import Contestant, Setup, program
from bench.compare.machine import Pinning
from bench.compare.processes import Program, StartFailed, free_port
from bench.compare.upstreams import Upstream, make_material
from bench.compare.verify import SMALL, NotTheSame, verify_fallback, verify_split

WARM_CONNECTIONS: Final = 64


@dataclass(frozen=True, slots=True)
class Terms:
    """What a stage asks of everybody: the parts of a `Setup` that scenarios choose."""

    percentage: int = 50
    workers: int = 1
    tls: bool = False
    attempt_timeout_s: float = 5.0
    fallback_checked: bool = True
    warmed: bool = True


@dataclass
class Runner:
    """A contestant at work."""

    contestant: Contestant
    setup: Setup
    program: Program

    def forget_log(self) -> None:
        """Empty its access log: it would fill the disk."""
        with contextlib.suppress(FileNotFoundError):
            os.truncate(self.setup.directory / self.contestant.logs, 0)


@dataclass
class Stage:
    """The upstreams, who runs, and who was left out and why."""

    legacy: Upstream
    target: Upstream
    runners: list[Runner] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)


class Builder:
    """Builds stages in one temporary directory."""

    def __init__(self, directory: Path, pinning: Pinning, say: Callable[[str], None]) -> None:
        self._directory, self._pinning, self._say = directory, pinning, say
        self._count = 0
        make_material(directory)

    @contextlib.contextmanager
    def stage(self, terms: Terms, contestants: Iterable[Contestant]) -> Iterator[Stage]:
        """Start everything and verify it; end everything, whatever happens."""
        self._count += 1
        home = self._directory / f"stage-{self._count}"
        home.mkdir()
        nginx = program("nginx") or "nginx"
        with contextlib.ExitStack() as stack:
            upstreams = [Upstream(name, self._directory, nginx, self._pinning.load) for name in ("legacy", "target")]
            for upstream in upstreams:
                stack.callback(upstream.stop)
                upstream.start()
            stage = Stage(*upstreams)
            for contestant in contestants:
                try:
                    stage.runners.append(self._start(stack, stage, terms, contestant, home))
                except (StartFailed, NotTheSame, OSError, ValueError, wrk.LoadFailed) as problem:
                    stage.left_out[contestant.name] = str(problem)
                    self._say(f"{contestant.label} is left out: {problem}")
            yield stage
        shutil.rmtree(home, ignore_errors=True)

    def _start(
        self, stack: contextlib.ExitStack, stage: Stage, terms: Terms, contestant: Contestant, home: Path
    ) -> Runner:
        if terms.fallback_checked and contestant.falls_back:
            with contextlib.ExitStack() as trial:
                runner = self._run(trial, stage, terms, contestant, home / f"{contestant.name}-trial")
                self._say(f"checking {contestant.label}")
                verify_fallback(runner.setup, verify_split(runner.setup).movers)
        runner = self._run(stack, stage, terms, contestant, home / contestant.name)
        stage.shares[contestant.name] = verify_split(runner.setup).share
        if terms.warmed:
            wrk.load(runner.setup.port, SMALL, WARM_CONNECTIONS, 1)
        return runner

    def _run(
        self, stack: contextlib.ExitStack, stage: Stage, terms: Terms, contestant: Contestant, directory: Path
    ) -> Runner:
        directory.mkdir()
        setup = Setup(
            directory=directory,
            port=free_port(),
            legacy=stage.legacy,
            target=stage.target,
            percentage=terms.percentage,
            workers=terms.workers,
            tls=terms.tls,
            attempt_timeout_s=terms.attempt_timeout_s,
        )
        if reason := contestant.can(setup):
            raise StartFailed(reason)
        cpus = self._pinning.pair if terms.workers > 1 else self._pinning.proxy
        output = directory / f"{contestant.name}.out"
        program = Program(contestant.prepare(setup), cpus=cpus, output=output)
        stack.callback(program.stop)
        program.await_port(setup.port)
        time.sleep(0.2)
        return Runner(contestant, setup, program)
