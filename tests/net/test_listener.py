"""The listener's sweep: the clock of every connection."""

import asyncio

from proxy.net.listener import SWEEP_S, Listener

from .harness import running


async def test_an_answer_that_came_while_the_process_paused_is_no_timeout():
    """A paused process (a suspended machine, a starved container) finds its timers due before it has read a byte."""
    async with running(target={"timeout": "1s"}) as world:
        listener = Listener(world.plane, None, 16)
        client = world.client()
        await client.request("GET /images/1")
        world.clock.now += 30
        listener._sweep()
        await world.target.answer(b"in time")
        assert client.response.get(b"x-cutover-source") == b"image_service"
        assert client.response.body == b"in time"
        listener._sweeper.cancel()


async def test_a_deadline_is_acted_on_at_the_sweep_after_a_pause():
    async with running(target={"timeout": "1s"}) as world:
        listener = Listener(world.plane, None, 16)
        client = world.client()
        await client.request("GET /images/1")
        world.clock.now += 30
        listener._sweep()
        world.clock.now += SWEEP_S
        listener._sweep()
        await asyncio.sleep(0)
        await world.legacy.answer()
        assert client.response.get(b"x-cutover-fallback") == b"timeout"
        listener._sweeper.cancel()


async def test_a_loop_that_is_always_late_acts_on_every_other_sweep():
    async with running(target={"timeout": "1s"}) as world:
        listener = Listener(world.plane, None, 16)
        client = world.client()
        await client.request("GET /images/1")
        for _ in range(2):
            world.clock.now += 1
            listener._sweep()
        await asyncio.sleep(0)
        await world.legacy.answer()
        assert client.response.get(b"x-cutover-fallback") == b"timeout"
        listener._sweeper.cancel()
