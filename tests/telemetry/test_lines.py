"""Lines to descriptors of every kind: in order, whole, counted, and never waited for."""

import contextlib
import errno
import fcntl
import multiprocessing
import os
import select
import socket
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.telemetry.lines import LineWriter, pack
from proxy.telemetry.sink import PIPE_BYTES, Sink, open_sink


class Drops:
    def __init__(self):
        self.count = 0

    def __call__(self, count):
        assert count > 0
        self.count += count


@pytest.fixture
def drops():
    return Drops()


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):
            os.close(end)


def small_pipe(pipe):
    """Keep the pipe small, so that it is soon full."""
    fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, 4096)


def read_all(fd):
    parts = []
    while part := os.read(fd, 65536):
        parts.append(part)
    return b"".join(parts)


@given(st.lists(st.binary(min_size=1, max_size=20)), st.integers(1, 40))
def test_packing_loses_nothing_and_keeps_to_the_limit(lines, limit):
    chunks = list(pack(lines, limit))
    assert b"".join(data for data, _ in chunks) == b"".join(lines)
    assert sum(count for _, count in chunks) == len(lines)
    assert all(len(data) <= limit or count == 1 for data, count in chunks)


def test_lines_arrive_in_order_through_a_pipe(pipe, drops):
    writer = LineWriter(pipe[1], drops)
    lines = [b"line %d\n" % number for number in range(3000)]
    for line in lines[:2000]:
        writer.write(line)
    writer.flush()
    for line in lines[2000:]:
        writer.write(line)
    writer.close(5)
    os.close(pipe[1])
    assert read_all(pipe[0]) == b"".join(lines)
    assert drops.count == 0


def test_lines_arrive_in_order_in_a_file(tmp_path, drops):
    path = tmp_path / "log"
    with path.open("wb") as file:
        writer = LineWriter(file.fileno(), drops)
        for number in range(10000):
            writer.write(b"line %d\n" % number)
            if number % 1000 == 0:
                writer.flush()
        writer.close(5)
    assert path.read_bytes() == b"".join(b"line %d\n" % number for number in range(10000))
    assert drops.count == 0


def test_lines_arrive_in_order_through_a_socket(drops):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        writer = LineWriter(ours.fileno(), drops)
        for number in range(1000):
            writer.write(b"line %d\n" % number)
        writer.close(5)
        ours.close()
        received = b"".join(iter(lambda: theirs.recv(65536), b""))
    assert received == b"".join(b"line %d\n" % number for number in range(1000))
    assert drops.count == 0


def test_a_blocked_reader_never_blocks_the_writer_and_drops_are_counted(pipe, drops):
    writer = LineWriter(pipe[1], drops, max_backlog_bytes=64 * 1024)
    line = b"x" * 99 + b"\n"
    started = time.perf_counter()
    for _ in range(100):
        for _ in range(1000):
            writer.write(line)
        writer.flush()
    assert time.perf_counter() - started < 2
    assert "writing" in repr(writer)
    sent = 100_000
    assert sent - (PIPE_BYTES + 64 * 1024) // 100 <= drops.count < sent
    # Reading it all shows that what was not dropped is complete, and in whole lines.
    received = []
    reader = threading.Thread(target=lambda: received.append(read_all(pipe[0])))
    reader.start()
    writer.close(5)
    os.close(pipe[1])
    reader.join(5)
    assert received[0] == line * (sent - drops.count)


def test_closing_before_a_blocked_reader_gives_up_in_time_and_counts_the_rest(pipe, drops):
    small_pipe(pipe)
    os.set_blocking(pipe[1], False)
    writer = LineWriter(pipe[1], drops)
    for _ in range(30_000):
        writer.write(b"x" * 99 + b"\n")
    started = time.perf_counter()
    writer.close(0.05)
    assert time.perf_counter() - started < 1
    os.close(pipe[1])
    received = 0
    while select.select([pipe[0]], [], [], 0)[0] and (part := os.read(pipe[0], 65536)):
        received += part.count(b"\n")
        if received + drops.count >= 30_000:
            break
    assert received + drops.count >= 30_000


def test_a_slow_reader_gets_everything_in_order(pipe, drops):
    writer = LineWriter(pipe[1], drops)
    lines = [b"%06d" % number + b"x" * 93 + b"\n" for number in range(30_000)]  # 3 MB: three times the pipe
    for line in lines:
        writer.write(line)
    writer.flush()
    assert "writing" in repr(writer)
    writer.write(b"last\n")
    writer.flush()
    received = b""
    while not received.endswith(b"last\n"):
        received += os.read(pipe[0], 65536)
    assert received == b"".join(lines) + b"last\n"
    writer.close(5)
    assert drops.count == 0


def test_without_a_reader_lines_are_dropped_for_good(pipe, drops):
    writer = LineWriter(pipe[1], drops)
    os.close(pipe[0])
    for _ in range(3):
        writer.write(b"line\n")
        writer.flush()
    assert drops.count == 3
    assert "gone" in repr(writer)
    writer.close(1)


def test_a_reader_that_goes_away_before_the_start_is_no_crash(pipe, drops):
    os.close(pipe[0])
    writer = LineWriter(pipe[1], drops)
    for _ in range(3):
        writer.write(b"line\n")
        writer.flush()
    writer.close(5)
    assert drops.count == 3


def test_a_closed_descriptor_is_no_crash(drops):
    read, write = os.pipe()
    os.close(read)
    os.close(write)
    writer = LineWriter(write, drops)
    writer.write(b"line\n")
    writer.close(5)
    assert drops.count == 1


def test_a_full_disk_loses_lines_and_is_tried_again(drops, monkeypatch):
    taken = []
    outcomes = iter([OSError(errno.ENOSPC, "full"), None])

    def write(data):
        outcome = next(outcomes)
        if outcome is not None:
            raise outcome
        taken.append(data)
        return len(data)

    monkeypatch.setattr("proxy.telemetry.lines.open_sink", lambda fd: Sink(fd, write, may_block=False))
    writer = LineWriter(99, drops)
    writer.write(b"lost\n")
    writer.flush()
    writer.write(b"kept\n")
    writer.flush()
    assert (drops.count, taken) == (1, [b"kept\n"])


def test_a_write_that_takes_only_a_part_is_completed_by_the_thread(drops, monkeypatch):
    taken = []

    def write(data):
        taken.append(data[:3])
        return len(data[:3])

    monkeypatch.setattr("proxy.telemetry.lines.open_sink", lambda fd: Sink(fd, write, may_block=False))
    writer = LineWriter(99, drops)
    writer.write(b"one line\n")
    writer.write(b"another\n")
    writer.close(5)
    assert b"".join(taken) == b"one line\nanother\n"
    assert drops.count == 0


def test_a_line_longer_than_an_atomic_write_is_written_alone(pipe, drops):
    writer = LineWriter(pipe[1], drops)
    lines = [b"short\n", b"x" * 10_000 + b"\n", b"short again\n"]
    for line in lines:
        writer.write(line)
    writer.close(5)
    os.close(pipe[1])
    assert read_all(pipe[0]) == b"".join(lines)


def test_lines_of_two_processes_never_interleave(pipe, drops):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_write_many, args=(pipe, letter)) for letter in (b"a", b"b")]
    for worker in workers:
        worker.start()
    os.close(pipe[1])
    lines = read_all(pipe[0]).splitlines()
    for worker in workers:
        worker.join(10)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert len(lines) == 2 * 5000
    assert {bytes(set(line)) for line in lines} == {b"a", b"b"}
    assert {len(line) for line in lines} == {700 + 97 * number for number in range(7)}


def _write_many(pipe, letter):
    os.close(pipe[0])
    drops = Drops()
    writer = LineWriter(pipe[1], drops, max_backlog_bytes=64 << 20)  # more than it writes: the reader may be slow
    for number in range(5000):
        writer.write(letter * (700 + 97 * (number % 7)) + b"\n")
        if number % 20 == 0:
            writer.flush()
    writer.close(10)
    assert drops.count == 0


def test_a_writer_made_before_a_fork_works_in_the_child(pipe, drops):
    writer = LineWriter(pipe[1], drops)
    child = multiprocessing.get_context("fork").Process(target=_write_one, args=(writer,))
    child.start()
    child.join(10)
    writer.close(1)
    os.close(pipe[1])
    assert read_all(pipe[0]) == b"from the child\n"


def _write_one(writer):
    writer.write(b"from the child\n")
    writer.close(5)


def test_the_mode_of_the_descriptor_is_left_alone(pipe, drops):
    writer = LineWriter(pipe[1], drops)
    writer.write(b"line\n")
    writer.close(5)
    assert os.get_blocking(pipe[1])
    os.fstat(pipe[1])


def test_each_kind_of_descriptor_is_written_to_in_its_way(pipe, tmp_path):
    through_pipe = open_sink(pipe[1])
    assert not through_pipe.may_block
    assert fcntl.fcntl(pipe[1], fcntl.F_GETPIPE_SZ) == PIPE_BYTES
    through_pipe.release()
    with (tmp_path / "log").open("wb") as file:
        to_file = open_sink(file.fileno())
        assert to_file.may_block
    with Path("/dev/null").open("wb") as null:
        to_null = open_sink(null.fileno())
        assert not to_null.may_block
        to_null.release()


def test_a_pipe_that_cannot_be_opened_anew_is_left_to_the_thread(pipe, drops, monkeypatch):
    def refuse(*_):
        raise PermissionError

    with monkeypatch.context() as patched:
        patched.setattr("proxy.telemetry.sink.os.open", refuse)
        writer = LineWriter(pipe[1], drops)
    assert "idle pending=0 backlog_bytes=0" in repr(writer)
    writer.write(b"line\n")
    assert "pending=1" in repr(writer)
    writer.close(5)
    os.close(pipe[1])
    assert read_all(pipe[0]) == b"line\n"


def test_a_nonblocking_pipe_is_waited_for_by_the_thread(pipe, drops, monkeypatch):
    small_pipe(pipe)
    os.set_blocking(pipe[1], False)
    with monkeypatch.context() as patched:
        patched.setattr("proxy.telemetry.sink.os.open", lambda *_: (_ for _ in ()).throw(PermissionError))
        writer = LineWriter(pipe[1], drops)
    lines = [b"%05d" % number + b"x" * 94 + b"\n" for number in range(1000)]
    for line in lines:
        writer.write(line)
    writer.flush()
    received = b""
    while len(received) < 100_000:
        received += os.read(pipe[0], 65536)
    writer.close(5)
    assert received == b"".join(lines)
    assert drops.count == 0
