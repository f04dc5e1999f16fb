"""The queue's own rules, against a session that does what it is told."""

import asyncio
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from types import SimpleNamespace

from proxy.demo.cdn import EdgeCache
from proxy.demo.dual_write import DualWriter, Kind
from proxy.demo.seed import make_seed

IMAGES = make_seed(10, 200).images


class Session:
    """Answers each delivery with the next of `statuses` (an exception is raised), the last one for ever."""

    def __init__(self, *statuses):
        self.statuses = list(statuses)
        self.calls = []

    def put(self, url, **_request):
        return self._answer("put", url)

    def delete(self, url, **_request):
        return self._answer("delete", url)

    @asynccontextmanager
    async def _answer(self, method, url):
        self.calls.append((method, url.rpartition("/")[2]))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if isinstance(status, Exception):
            raise status

        async def read():
            return b""

        yield SimpleNamespace(status=status, read=read)


async def run_until_idle(writer):
    task = asyncio.ensure_future(writer.run())
    async with asyncio.timeout(5):
        while writer.status()["pending"]:  # noqa: ASYNC110 - the writer has no event for an empty queue
            await asyncio.sleep(0.005)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_failures_keep_the_order_and_are_tried_again():
    session = Session(OSError("refused"), 503, 401, 200)
    writer = DualWriter(session, "http://x", "t")
    first = writer.enqueue(Kind.PUT, IMAGES[0])
    writer.enqueue(Kind.DELETE, IMAGES[1])
    await run_until_idle(writer)
    assert session.calls == [("put", IMAGES[0].id)] * 4 + [("delete", IMAGES[1].id)]
    assert first.is_set()
    assert writer.status() == {
        "pending": 0, "delivered": 2, "refused": 0, "retries": 3, "dropped": 0, "last_error": None,
    }  # fmt: skip
    assert "pending=0" in repr(writer)


async def test_what_will_never_be_taken_does_not_block_the_rest():
    writer = DualWriter(Session(422, 200), "http://x", "t")
    refused, taken = writer.enqueue(Kind.PUT, IMAGES[0]), writer.enqueue(Kind.PUT, IMAGES[1])
    await run_until_idle(writer)
    assert (refused.is_set(), taken.is_set()) == (False, True)
    assert writer.status()["refused"] == 1


async def test_a_full_queue_drops_and_says_so():
    writer = DualWriter(Session(200), "http://x", "t", max_pending=1)
    assert writer.enqueue(Kind.PUT, IMAGES[0]) is not None
    dropped = writer.enqueue(Kind.PUT, IMAGES[1])
    assert dropped is None
    assert await writer.wait_settled(dropped) is False
    assert writer.status()["dropped"] == 1


async def test_a_write_does_not_wait_for_a_service_that_is_not_there():
    writer = DualWriter(Session(OSError("refused")), "http://x", "t")
    done = writer.enqueue(Kind.PUT, IMAGES[0])
    task = asyncio.ensure_future(writer.run())
    await asyncio.sleep(0.02)
    began = datetime.now(UTC)
    assert await writer.wait_settled(done) is False
    assert (datetime.now(UTC) - began).total_seconds() < 0.2
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def test_the_cdn_never_keeps_what_was_read_before_a_purge_of_the_same_thing():
    now = [0.0]
    cache = EdgeCache(lambda: now[0])
    before = cache.purges
    cache.purge("img-1", "user-1")
    cache.keep("/images/img-1", "img-1", b"old", before)
    cache.keep("/images/img-2", "img-2", b"fine", before)
    assert cache.find("/images/img-1") is None
    assert cache.find("/images/img-2") == b"fine"
    for _ in range(600):  # more than it remembers: then nothing read before may be kept
        cache.purge("img-3", "user-3")
    cache.keep("/images/img-4", "img-4", b"unknown", before)
    assert cache.find("/images/img-4") is None
    now[0] = 31.0
    assert cache.find("/images/img-2") is None
