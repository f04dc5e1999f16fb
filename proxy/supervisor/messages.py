"""What the supervisor and a worker say to each other, and how it goes over their private socket.

Each message is a frozen dataclass, pickled, with its length before it. Pickle is fine here: both ends are the same
program of the same version, and the socket pair is inherited, so nobody else can write to it.

| from | message | says |
| --- | --- | --- |
| worker | `Hello` | I have started and wait for orders |
| supervisor | `Start` | work with this configuration |
| worker | `Ready` or `Failed` | I accept connections; or why I cannot |
| supervisor | `Apply` | this configuration is in force |
| worker | `Applied` | every following request reads it; or why it can't be |
| supervisor | `Ask` | report now |
| worker | `Report` | my figures: every second (the heartbeat), when asked, and once at the end |
| worker | `Leaving` | I was told to end (SIGTERM): replace me, then let me drain |
| supervisor | `Drain` | stop accepting, finish, end |
"""

import pickle
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from proxy.core.model import Role
from proxy.settings.schema import Settings
from proxy.telemetry.state import MetricsState

_LENGTH_BYTES: Final = 4
REPORT_EVERY_S: Final = 1.0
HELD_BACK: Final = frozenset((signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM))
"""Signals that a worker is born with blocked, so that none ends it before it can say what it does with them."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """Everything that is in force, complete in itself, so that only the last one sent counts.

    `serial` numbers them in the order made. `percentage` and `enabled` stand above those of `settings`: an override
    may differ from the file. `tls_files` tells contents of a role's TLS files from other contents.
    """

    serial: int
    settings: Settings
    revision: str
    percentage: int
    enabled: bool
    kill_switch: bool
    tls_files: Mapping[Role, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Start:
    """`announce`: this worker is the one that tells of unreachable upstreams, so that it is told once."""

    configuration: Configuration
    announce: bool


@dataclass(frozen=True, slots=True)
class Apply:
    """To be in force for every following request."""

    configuration: Configuration


@dataclass(frozen=True, slots=True)
class Ask:
    """`serial` comes back in the report."""

    serial: int


@dataclass(frozen=True, slots=True)
class Drain:
    """End within `timeout_s`; clients with an idle connection have `idle_grace_s` for one more request."""

    timeout_s: float
    idle_grace_s: float


@dataclass(frozen=True, slots=True)
class Hello:
    """The worker runs."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker accepts connections, with the configuration of this serial."""

    serial: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The worker can't work, and ends."""

    why: str


@dataclass(frozen=True, slots=True)
class Applied:
    """`refused` says why the configuration of this serial could not be taken; the one before stays in force."""

    serial: int
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Leaving:
    """The worker wants to be replaced."""


@dataclass(frozen=True, slots=True)
class Report:
    """A worker's figures. `asked` is the serial of the last `Ask`."""

    asked: int
    metrics: MetricsState
    revision: str
    connections: int
    breaker: int


Message = Start | Apply | Ask | Drain | Hello | Ready | Failed | Applied | Leaving | Report


def encode(message: Message) -> bytes:
    """The bytes of one message."""
    data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return len(data).to_bytes(_LENGTH_BYTES, "big") + data


class Decoder:
    """Cuts bytes into messages; a rest waits for more."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def __repr__(self) -> str:
        return f"<Decoder {len(self._buffer)} bytes pending>"

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are whole now."""
        buffer = self._buffer
        buffer += data
        messages: list[Message] = []
        while len(buffer) >= _LENGTH_BYTES:
            end = _LENGTH_BYTES + int.from_bytes(buffer[:_LENGTH_BYTES], "big")
            if len(buffer) < end:
                break
            messages.append(pickle.loads(buffer[_LENGTH_BYTES:end]))  # noqa: S301 - see the module: our own other end
            del buffer[:end]
        return messages
