"""A worker process: runs one data plane and does what the supervisor says, over the socket that it was born with.

`python -m proxy.worker CONTROL LISTEN NUMBER`, two descriptors and the slot's number; only the supervisor starts it.
It outlives its supervisor just long enough to finish what is under way. Neighbours: `engine` is what it runs,
`supervisor.messages` what is said.
"""

import asyncio
import signal
import socket
import sys
from typing import Final

import uvloop

from proxy.engine import Engine
from proxy.supervisor.channel import Channel
from proxy.supervisor.messages import (
    HELD_BACK,
    REPORT_EVERY_S,
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
from proxy.tasks import TaskKeeper

_ORPHAN_GRACE_S: Final = 1.0
_NOT_OURS: Final = HELD_BACK - {signal.SIGTERM}
"""What a terminal or an operator sends to the whole group means the supervisor."""


class Worker:
    """The conversation with the supervisor, from `Hello` to the last `Report`."""

    def __init__(self, control: socket.socket, listening: socket.socket, number: int) -> None:
        self._control = control
        self._listening = listening
        self._number = number
        self._channel: Channel | None = None
        self._engine: Engine | None = None
        self._serial = 0
        self._asked = 0
        self._tasks = TaskKeeper()
        self._drain: asyncio.Future[Drain] = asyncio.get_running_loop().create_future()
        self._status = 0

    def __repr__(self) -> str:
        state = "draining" if self._drain.done() else "working" if self._engine else "waiting"
        return f"<Worker {self._number} {state} serial={self._serial}>"

    async def run(self) -> int:
        """Work until told to end; returns the exit status."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._on_terminate)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)
        self._channel = await Channel.open(self._control, self._on_message, self._on_supervisor_gone)
        self._channel.send(Hello())
        self._beat()
        drain = await self._drain
        if self._engine is not None:
            await self._engine.drain(drain.timeout_s, drain.idle_grace_s)
            self._report()
        await self._tasks.close()
        await self._channel.close()
        return self._status

    def _beat(self) -> None:
        self._report()
        asyncio.get_running_loop().call_later(REPORT_EVERY_S, self._beat)

    def _report(self) -> None:
        engine = self._engine
        if engine is not None:
            figures = engine.figures()
            connections, breaker = figures.downstream_connections, max(figures.breakers.values(), default=0)
            self._send(Report(self._asked, figures, engine.revision, connections, breaker))

    def _send(self, message: Message) -> None:
        if self._channel is not None:
            self._channel.send(message)

    def _on_message(self, message: Message) -> None:
        match message:
            case Start(configuration, announce):
                self._start(configuration, announce=announce)
            case Apply(configuration):
                self._apply(configuration)
            case Ask(serial):
                self._asked = serial
                self._report()
            case Drain():
                self._end(message)

    def _start(self, configuration: Configuration, *, announce: bool) -> None:
        try:
            self._engine = Engine(configuration, self._listening, self._number, announce=announce)
        except Exception as error:  # noqa: BLE001 - the boundary: the supervisor says why, and tries again
            self._send(Failed(_words(error)))
            self._status = 1
            self._end(Drain(0.0, 0.0))
            return
        self._serial = configuration.serial
        self._tasks.spawn(self._accept(self._engine))

    async def _accept(self, engine: Engine) -> None:
        await engine.start()
        self._send(Ready(self._serial))
        self._report()

    def _apply(self, configuration: Configuration) -> None:
        if self._engine is None:
            return
        refused = None
        try:
            self._engine.apply(configuration)
        except Exception as error:  # noqa: BLE001 - the boundary: what is in force stays so
            refused = _words(error)
        self._serial = configuration.serial
        self._send(Applied(configuration.serial, refused))

    def _end(self, drain: Drain) -> None:
        if not self._drain.done():
            self._drain.set_result(drain)
        elif self._engine is not None:
            self._engine.hasten(drain.timeout_s, drain.idle_grace_s)

    def _on_terminate(self) -> None:
        """Ask to be replaced; the supervisor then says when to drain."""
        self._send(Leaving())

    def _on_supervisor_gone(self) -> None:
        """Nobody will replace this worker nor end it: finish what is under way."""
        timeout_s = self._engine.drain_timeout_s if self._engine is not None else 0.0
        self._end(Drain(timeout_s, _ORPHAN_GRACE_S))


def _words(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else repr(error)


async def _run(control_fd: int, listen_fd: int, number: int) -> int:
    control, listening = socket.socket(fileno=control_fd), socket.socket(fileno=listen_fd)
    for sock in (control, listening):
        sock.setblocking(False)  # noqa: FBT003 - the socket module takes it so
    return await Worker(control, listening, number).run()


def main() -> int:
    """Run the worker that the arguments describe; returns the exit status."""
    for number in _NOT_OURS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _NOT_OURS)
    status = uvloop.run(_run(*map(int, sys.argv[1:4])))
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
