"""The fleet with workers that do as the test says, and a clock that the test moves."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from proxy.settings.load import parse_settings
from proxy.supervisor import fleet as module
from proxy.supervisor.fleet import Fleet
from proxy.supervisor.member import Stage
from proxy.supervisor.messages import (
    Applied,
    Apply,
    Ask,
    Configuration,
    Drain,
    Failed,
    Hello,
    Leaving,
    Message,
    Ready,
    Report,
    Start,
)
from proxy.supervisor.sockets import StartFailed
from proxy.telemetry.events import EventLog
from proxy.telemetry.histogram import count_of
from proxy.telemetry.log_format import DefaultLogging
from proxy.telemetry.metrics import LabelSpace, Metrics

SETTINGS = parse_settings(b"legacy: {url: http://a}\ntarget: {url: http://b}\n", Path("c.yaml"), {}).settings
KEY = ("postgresql", "get", 200)


def configuration(serial: int) -> Configuration:
    return Configuration(serial, SETTINGS, f"{serial:012d}", 0, False, False)


class Lines:
    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.write = self.lines.append

    def flush(self) -> None:
        pass


class Body:
    """A worker process that the test plays."""

    def __init__(self, pid: int, slot: int, hear: Callable[[Message], None], gone: Callable[[int], None]) -> None:
        self.pid = pid
        self.slot = slot
        self.hear = hear
        self.gone = gone
        self.told: list[Message] = []
        self.killed = False
        self.obedient = True
        self.metrics = Metrics()

    def send(self, message: Message) -> None:
        self.told.append(message)
        if not self.obedient:
            return
        loop = asyncio.get_running_loop()
        match message:
            case Start(configuration, _):
                loop.call_soon(self.hear, Ready(configuration.serial))
            case Apply(configuration):
                loop.call_soon(self.hear, Applied(configuration.serial))
            case Ask(serial):
                loop.call_soon(self.report, serial)
            case Drain():
                loop.call_soon(self.end, 0)

    def report(self, asked: int = 0) -> None:
        self.hear(Report(asked, self.metrics.snapshot(), "", 0, 0))

    def kill(self) -> None:
        self.killed = True
        asyncio.get_running_loop().call_soon(self.end, -9)

    def end(self, status: int) -> None:
        gone, self.gone = self.gone, lambda _status: None
        gone(status)


class World:
    """A fleet and all the bodies it has started."""

    def __init__(self, slots: int) -> None:
        self.now = 1000.0
        self.bodies: list[Body] = []
        self.refusals = 0
        self.prepare: Callable[[Body], None] = lambda _body: None
        self.lines = Lines()
        events = EventLog(self.lines, DefaultLogging(), lambda: self.now)  # type: ignore[arg-type]
        self.fleet = Fleet(slots, self._start, events, lambda: self.now, lambda: Drain(30.0, 30.0))

    def _start(self, slot: int, hear: Callable[[Message], None], gone: Callable[[int], None]) -> Body:
        if self.refusals:
            self.refusals -= 1
            raise OSError(11, "no process to be had")
        body = Body(100 + len(self.bodies), slot, hear, gone)
        self.bodies.append(body)
        self.prepare(body)
        if body.obedient:
            asyncio.get_running_loop().call_soon(hear, Hello())
        return body

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    async def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            self.now += 0.1
            self.fleet.tick(self.now)
            await self.settle()

    def alive(self) -> list[int]:
        return [member.body.pid for member in self.fleet.members]

    def logged(self, event: str) -> int:
        return sum(f'"event":"{event}"'.encode() in line for line in self.lines.lines)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World(2)
    await made.fleet.start(configuration(1))
    yield made
    await made.fleet.end()
    assert made.fleet.members == ()


async def test_a_worker_starts_in_every_slot_and_only_one_tells_of_upstreams(world: World) -> None:
    assert [body.slot for body in world.bodies] == [0, 1]
    assert [body.told for body in world.bodies] == [[Start(configuration(1), True)], [Start(configuration(1), False)]]
    assert world.fleet.serving
    assert [member.stage for member in world.fleet.members] == [Stage.SERVING] * 2
    assert repr(world.fleet.members[0]) == "<Member 0 pid=100 SERVING applied=1 <Silence 0.0s>>"


async def test_one_that_cannot_work_at_the_first_start_ends_the_program_and_leaves_none() -> None:
    world = World(2)

    def fail(body: Body) -> None:
        if body.slot == 1:
            body.obedient = False
            asyncio.get_running_loop().call_soon(body.hear, Failed("target.tls: no such file"))
            asyncio.get_running_loop().call_soon(body.end, 1)

    world.prepare = fail
    with pytest.raises(StartFailed, match="no such file"):
        await world.fleet.start(configuration(1))
    assert world.fleet.members == ()


async def test_one_that_says_nothing_at_the_first_start_is_given_up_after_20_s() -> None:
    world = World(1)
    world.prepare = lambda body: setattr(body, "obedient", False)
    starting = asyncio.ensure_future(world.fleet.start(configuration(1)))
    await world.settle()
    await world.pass_time(19)
    assert not world.bodies[0].killed
    await world.pass_time(2)
    with pytest.raises(StartFailed, match="did not start within 20 s"):
        await starting


async def test_no_process_at_the_first_start_is_a_failure() -> None:
    world = World(1)
    world.refusals = 1
    with pytest.raises(StartFailed, match="can't be started"):
        await world.fleet.start(configuration(1))


async def test_a_crashed_worker_is_replaced_at_once_then_with_a_growing_pause(world: World) -> None:
    world.bodies[0].end(-11)
    await world.settle()
    assert world.alive() == [101, 102]
    world.bodies[2].end(1)
    await world.settle()
    assert world.alive() == [101]
    await world.pass_time(0.3)
    assert world.alive() == [101, 103]
    assert world.logged("worker_died") == 2
    assert world.logged("worker_started") == 2
    world.now += 11
    world.bodies[3].end(1)
    await world.settle()
    assert world.alive() == [101, 104]


async def test_when_the_system_has_no_process_it_is_tried_again(world: World) -> None:
    world.refusals = 2
    world.bodies[1].end(-9)
    await world.settle()
    assert world.alive() == [100]
    await world.pass_time(1.0)
    assert world.alive() == [100, 102]
    assert world.logged("worker_not_started") == 2


async def test_a_silent_worker_is_killed_after_5_s_and_one_that_reports_is_not(world: World) -> None:
    for _ in range(7):
        await world.pass_time(0.7)
        world.bodies[1].report()
    assert not world.bodies[0].killed
    await world.pass_time(0.5)
    assert (world.bodies[0].killed, world.bodies[1].killed) == (True, False)
    assert world.alive() == [101, 102]


async def test_a_supervisor_that_was_stopped_kills_nobody(world: World) -> None:
    world.now += 60
    world.fleet.tick(world.now)
    await world.settle()
    assert world.alive() == [100, 101]


async def test_a_starting_worker_has_20_s_however_silent(world: World) -> None:
    world.prepare = lambda body: setattr(body, "obedient", False)
    world.bodies[0].end(-9)
    await world.settle()
    for _ in range(38):
        await world.pass_time(0.5)
        world.bodies[1].report()
    assert not world.bodies[2].killed
    for _ in range(4):
        await world.pass_time(0.5)
        world.bodies[1].report()
    assert world.bodies[2].killed


async def test_a_configuration_is_in_force_when_every_worker_says_so(world: World) -> None:
    world.bodies[1].obedient = False
    applying = asyncio.ensure_future(world.fleet.apply(configuration(2)))
    await world.settle()
    assert not applying.done()
    world.bodies[1].hear(Applied(2))
    assert await applying == []
    assert [body.told[-1] for body in world.bodies] == [Apply(configuration(2))] * 2


async def test_why_a_worker_could_not_take_a_configuration_is_told(world: World) -> None:
    world.bodies[1].obedient = False
    applying = asyncio.ensure_future(world.fleet.apply(configuration(2)))
    await world.settle()
    world.bodies[1].hear(Applied(2, "target.tls: no certificate"))
    assert await applying == ["target.tls: no certificate"]


async def test_a_worker_that_does_not_answer_a_configuration_is_killed_and_its_replacement_has_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "APPLY_WITHIN_S", 0.01)
    world.bodies[1].obedient = False
    await world.fleet.apply(configuration(2))
    await world.settle()
    assert world.bodies[1].killed
    assert world.bodies[2].told == [Start(configuration(2), False)]


async def test_a_worker_that_starts_meanwhile_starts_with_the_last_configuration(world: World) -> None:
    world.prepare = lambda body: setattr(body, "obedient", False)
    world.bodies[0].end(-9)
    await world.settle()
    await world.fleet.apply(configuration(2))
    world.bodies[2].obedient = True
    world.bodies[2].hear(Hello())
    await world.settle()
    assert world.bodies[2].told == [Start(configuration(2), False)]
    assert world.alive() == [101, 102]


async def test_workers_are_renewed_one_after_another_the_new_one_serving_before_the_old_one_drains(
    world: World,
) -> None:
    order: list[str] = []
    for body in world.bodies:
        send = body.send
        body.send = lambda message, send=send, pid=body.pid: (
            order.append(f"{pid} {type(message).__name__}"),
            send(message),
        )  # type: ignore[method-assign]
    world.prepare = lambda body: order.append(f"{body.pid} started")
    world.fleet.renew()
    await world.settle()
    await world.settle()
    assert order == ["102 started", "100 Drain", "103 started", "101 Drain"]
    assert world.alive() == [102, 103]
    assert world.logged("worker_died") == 0


async def test_a_renewal_that_fails_leaves_the_old_worker(world: World) -> None:
    def fail(body: Body) -> None:
        body.obedient = False
        asyncio.get_running_loop().call_soon(body.end, 1)

    world.prepare = fail
    world.fleet.renew([0])
    await world.settle()
    assert world.alive() == [100, 101]
    assert world.logged("worker_not_renewed") == 1


async def test_a_worker_that_was_told_to_end_is_replaced_first(world: World) -> None:
    world.bodies[1].hear(Leaving())
    await world.settle()
    assert world.alive() == [100, 102]
    assert world.bodies[1].told[-1] == Drain(30.0, 30.0)


async def test_once_the_end_has_begun_nobody_is_replaced_for_being_told_to_end(world: World) -> None:
    world.fleet.cease_renewing()
    world.bodies[1].hear(Leaving())
    await world.settle()
    assert world.alive() == [100, 101]
    world.bodies[1].end(-9)
    await world.settle()
    assert world.alive() == [100, 102]


async def test_an_old_worker_that_dies_while_its_successor_starts_leaves_the_slot_to_it(world: World) -> None:
    world.prepare = lambda body: setattr(body, "obedient", False)
    world.fleet.renew([0])
    await world.settle()
    world.bodies[0].end(-9)
    await world.settle()
    assert world.alive() == [101, 102]
    world.bodies[2].obedient = True
    world.bodies[2].hear(Hello())
    await world.settle()
    await world.pass_time(1)
    assert world.alive() == [101, 102]


async def test_a_drain_that_does_not_end_is_ended(world: World) -> None:
    world.bodies[0].obedient = False
    world.fleet.renew([0])
    await world.settle()
    for _ in range(36):
        await world.pass_time(1)
        for body in world.bodies:
            body.report()
    assert world.bodies[0].killed
    assert world.alive() == [101, 102]


async def test_at_the_end_everybody_drains_and_nobody_is_replaced(world: World) -> None:
    await world.fleet.drain(Drain(5.0, 1.0))
    assert world.alive() == []
    assert len(world.bodies) == 2
    assert [body.told[-1] for body in world.bodies] == [Drain(5.0, 1.0)] * 2
    assert world.logged("worker_ended") == 2


async def test_what_an_ended_worker_had_counted_is_kept(world: World) -> None:
    for body in world.bodies:
        body.metrics.apply(LabelSpace("postgresql", "image_service", ("get",)))
        for _ in range(3):
            body.metrics.answered(*KEY, 0.01)
    await world.fleet.refresh(1.0)
    assert [count_of(report.metrics.requests[KEY]) for _, report in world.fleet.reports()] == [3, 3]
    world.bodies[0].metrics.answered(*KEY, 0.01)  # counted, and lost with the process: nobody has seen it
    world.bodies[0].end(-9)
    await world.settle()
    assert count_of(world.fleet.ended.requests[KEY]) == 3


async def test_a_worker_that_does_not_report_in_time_is_not_waited_for(world: World) -> None:
    world.bodies[0].obedient = False
    await world.fleet.refresh(0.01)
    assert [member.slot for member, _ in world.fleet.reports()] == [1]
