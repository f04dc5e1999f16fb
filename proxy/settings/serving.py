"""How requests are served whatever their source: fallback, limits, forwarding, the admin port, logging.

Contract section 2, the keys of those names.
"""

from collections.abc import Iterable
from typing import Annotated, Final, Literal, Self, cast

from pydantic import Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from proxy.settings.addresses import IpNetwork, ListenAddress, TcpAddress, parse_listen, parse_network
from proxy.settings.raw import Substituted, shown
from proxy.settings.scalars import (
    Count,
    Duration,
    DurationOrZero,
    Flag,
    OptionalDuration,
    OptionalSecret,
    Scalar,
    Size,
    SizeOrZero,
    as_is,
    choice,
    number,
    parsed,
    rejected,
    whole_number,
)
from proxy.settings.section import Section

LISTEN_PATTERN: Final = r"^(unix:/.+|.+:[0-9]{1,5})$"
Listen = Annotated[ListenAddress, parsed(parse_listen, {"type": "string", "pattern": LISTEN_PATTERN})]
Network = Annotated[IpNetwork, parsed(parse_network, {"type": "string"})]

_CLASSES: Final = {"4xx": range(400, 500), "5xx": range(500, 600)}
_STATUS_WORDS: Final = {**_CLASSES, **{str(status): range(status, status + 1) for status in range(400, 600)}}


class StatusSet(frozenset[int]):
    """Status codes, with `written` to show them as the file has them (`4xx`, 502)."""

    written: tuple[int | str, ...]

    def __new__(cls, written: Iterable[int | str]) -> Self:
        """Expand `4xx` and `5xx`."""
        items = tuple(written)
        codes = (code for item in items for code in _STATUS_WORDS[str(item)])
        self = super().__new__(cls, codes)
        self.written = items
        return self


def _read_status(value: object) -> int | str:
    is_code = isinstance(value, int) and not isinstance(value, bool)
    is_word = isinstance(value, Substituted) or value in _CLASSES if isinstance(value, str) else False
    word = str(value).strip()
    if not (is_code or is_word) or word not in _STATUS_WORDS:
        raise rejected(f"expected a status from 400 to 599, 4xx or 5xx, got {shown(value)}")
    return word if word in _CLASSES else int(word)


_STATUS: Final = Scalar(
    _read_status,
    {"anyOf": [{"type": "integer", "minimum": 400, "maximum": 599}, {"enum": list(_CLASSES)}]},
)
_StatusItem = Annotated[int | str, _STATUS]


class _StatusList(Scalar):
    """A list of statuses, checked item by item and then expanded."""

    __slots__ = ()

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        items = handler.generate_schema(tuple[_StatusItem, ...])
        return core_schema.no_info_after_validator_function(StatusSet, items)


def _read_unsafe_methods(value: object) -> bool | Literal["idempotency_key"]:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        word = value.strip().lower() if isinstance(value, Substituted) else str(value)
        if word == "idempotency_key":
            return "idempotency_key"
        if isinstance(value, Substituted) and word in ("true", "false"):
            return word == "true"
    raise rejected(f"expected false, idempotency_key or true, got {shown(value)}")


def _read_workers(value: object) -> int | Literal["auto"]:
    if isinstance(value, str) and value.strip() == "auto":
        return "auto"
    try:
        return cast(int, _WORKER_COUNT.read(value))
    except ValueError:
        raise rejected(f"expected auto or a whole number from 1 to 256, got {shown(value)}") from None


_WORKER_COUNT: Final = whole_number(1, 256)

Workers = Annotated[
    int | Literal["auto"],
    Scalar(_read_workers, {"anyOf": [_WORKER_COUNT.schema, {"const": "auto"}]}),
]
Statuses = Annotated[
    StatusSet,
    _StatusList(as_is, {"type": "array", "items": _STATUS.schema}, lambda statuses: list(statuses.written)),
]
UnsafeMethods = Annotated[
    bool | Literal["idempotency_key"],
    Scalar(_read_unsafe_methods, {"enum": [False, True, "idempotency_key"]}),
]
Level = Annotated[Literal["debug", "info", "warning", "error"], choice("debug", "info", "warning", "error")]
AccessLog = Annotated[Literal["all", "fallbacks", "off"], choice("all", "fallbacks", "off")]
LogFormat = Annotated[Literal["json", "text"], choice("json", "text")]

DEFAULT_STATUSES: Final = StatusSet((401, 403, 404, 408, 429, "5xx"))


class Admin(Section):
    """The admin port: health, metrics, status, and changes at run time."""

    listen: Listen = Field(
        TcpAddress("127.0.0.1", 9900), description="Where the admin API listens: host:port or unix:/path."
    )
    token: OptionalSecret = Field(
        None,
        description="Bearer token that changes need; may be left out only while admin listens on loopback.",
    )


class Fallback(Section):
    """When the target fails: whether, and how, legacy answers instead."""

    enabled: Flag = Field(default=True, description="Whether a failure of the target is answered by legacy.")
    statuses: Statuses = Field(
        DEFAULT_STATUSES,
        description="Statuses from the target that count as a failure: 400 to 599, `4xx` or `5xx`.",
    )
    request_buffer: SizeOrZero = Field(
        64 << 10, description="A longer request body is streamed and cannot be sent a second time."
    )
    response_buffer: SizeOrZero = Field(
        256 << 10,
        description="A response of the target up to this size is held until complete, so that a failure"
        " half-way still falls back.",
    )
    hedge_after: OptionalDuration = Field(
        None, description="For GET and HEAD, ask legacy too when the target has not answered by then."
    )
    max_concurrent: Count = Field(
        512, description="Fallbacks in flight, per process; more of them wait, within legacy's timeout."
    )
    unsafe_methods: UnsafeMethods = Field(
        default=False,
        description="Whether other methods are sent again after bytes were sent: never, with an"
        " Idempotency-Key that both sources share, or always.",
    )


class Limits(Section):
    """What a client may send, and how long everything may take."""

    header_bytes: Size = Field(32 << 10, description="Request or response head, in all.")
    header_count: Count = Field(100, description="Header lines in a request or response.")
    uri_bytes: Size = Field(8 << 10, description="Request target, path and query.")
    body_bytes: Size = Field(100 << 20, description="Request body.")
    buffered_bytes: SizeOrZero = Field(
        256 << 20,
        description="Bodies held by one process; above it responses commit at their head and stream.",
    )
    header_timeout: Duration = Field(10.0, description="Time for a request's head after its first byte.")
    body_timeout: Duration = Field(30.0, description="Time without progress of a body.")
    stream_idle_timeout: Duration = Field(3600.0, description="Time without progress of an event stream or a tunnel.")
    keepalive_timeout: Duration = Field(75.0, description="Time an idle client connection is kept open.")
    connections: Count = Field(10_000, description="Client connections open at once, per process.")
    drain_timeout: DurationOrZero = Field(30.0, description="Time for requests in flight to finish after SIGTERM.")
    drain_delay: DurationOrZero = Field(
        0.0, description="Time between SIGTERM and the end of accepting, so that load balancers notice first."
    )


DEFAULT_TRUSTED_PROXIES: Final = (parse_network("127.0.0.0/8"), parse_network("::1/128"))


class Forwarded(Section):
    """The X-Forwarded-* and Via headers."""

    trusted_proxies: tuple[Network, ...] = Field(
        default=DEFAULT_TRUSTED_PROXIES,
        description="Addresses whose X-Forwarded-* headers are believed; from others they are discarded.",
    )
    via: Flag = Field(default=True, description="Whether cutover adds itself to the Via header.")


class Logging(Section):
    """Lines on standard output."""

    level: Level = Field("info", description="The least important level that is logged.")
    access: AccessLog = Field("all", description="Which requests get an access line: `all`, only `fallbacks`, or none.")
    sample: Annotated[float, number(0, 1)] = Field(
        1.0,
        description="Share of the access lines that are written, from 0 to 1.",
    )
    format: LogFormat = Field("json", description="`json` is one object a line, `text` is for people.")
