"""What systemd tells a service and wants to hear from it: passed sockets, readiness, the watchdog. No dependency.

Sources: sd_listen_fds(3), sd_notify(3). Without systemd's variables in the environment all of it does nothing.
"""

import os
import socket
import time
from collections.abc import MutableMapping
from contextlib import ExitStack
from typing import Final

_FIRST_DESCRIPTOR: Final = 3
_LISTEN_VARIABLES: Final = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_PIDFDID")
_NOTIFY_VARIABLES: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


def take_sockets(env: MutableMapping[str, str]) -> list[tuple[str, socket.socket]]:
    """The listening sockets passed to this process, each with its name ("" without one).

    Removes the variables: children must not take the sockets for theirs. Raises OSError for a descriptor that is no
    listening stream socket.
    """
    told = {name: env.pop(name, "") for name in _LISTEN_VARIABLES}
    if told["LISTEN_PID"] != str(os.getpid()) or not told["LISTEN_FDS"].isdigit():
        return []
    count = int(told["LISTEN_FDS"])
    names = told["LISTEN_FDNAMES"].split(":") if told["LISTEN_FDNAMES"] else []
    taken = []
    with ExitStack() as failing:
        for index in range(count):
            number = _FIRST_DESCRIPTOR + index
            os.set_inheritable(number, False)  # noqa: FBT003 - the os module takes it so
            sock = failing.enter_context(socket.socket(fileno=number))
            if sock.type != socket.SOCK_STREAM or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                raise OSError(f"LISTEN_FDS: descriptor {number} is not a listening stream socket")
            taken.append((names[index] if index < len(names) else "", sock))
        failing.pop_all()
    return taken


class Notifier:
    """Tells systemd how the service is, when it wants to know (`Type=notify`)."""

    def __init__(self, env: MutableMapping[str, str]) -> None:
        """Remove the variables from `env`: children are not the service."""
        told = {name: env.pop(name, "") for name in _NOTIFY_VARIABLES}
        address = told["NOTIFY_SOCKET"]
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        mine = told["WATCHDOG_PID"] in ("", str(os.getpid()))
        usec = told["WATCHDOG_USEC"]
        self._stopping = False
        self.watchdog_every_s = int(usec) / 2e6 if mine and usec.isdigit() and int(usec) else None

    def __repr__(self) -> str:
        return f"<Notifier {self._address or 'of nobody'!r} watchdog_every_s={self.watchdog_every_s}>"

    def ready(self) -> None:
        """Serving: at the start, and again after each reload. Nothing is ready any more once it stops."""
        if not self._stopping:
            self._tell("READY=1")

    def reloading(self) -> None:
        """A reload has begun."""
        if self._stopping:
            return
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """The drain has begun."""
        self._stopping = True
        self._tell("STOPPING=1")

    def alive(self) -> None:
        """The watchdog's sign of life."""
        self._tell("WATCHDOG=1")

    def _tell(self, message: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
                sock.sendto(message.encode(), self._address)
        except OSError:
            return  # a message to systemd is no reason to stop serving
