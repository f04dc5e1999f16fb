"""What happens to the proxy itself: one line an event, beside the access lines (contract section 8).

Events are few, so each is handed on at once. Never logs a secret: fields named like one are masked, whoever
passes them. Neighbours: everything that has something to tell; `lines.LineWriter` takes the line.
"""

import json
from collections.abc import Callable, Mapping
from typing import Final

from proxy.telemetry.lines import MAX_LINE, LineWriter
from proxy.telemetry.log_format import LEVELS, LoggingSettings, Timestamps, bare, json_string

_SECRETS: Final = frozenset({"authorization", "cookie", "password", "proxy_authorization", "set_cookie", "token"})
_MASK: Final = "***"
# Longest text of a field, tried in turn until the line fits into one atomic write.
_TEXT_LIMITS: Final = (1024, 256, 64)


class EventLog:
    """Writes events of at least the configured level; `wall_clock` gives seconds since the epoch."""

    __slots__ = ("_as_text", "_threshold", "_timestamps", "_wall_clock", "_writer")

    def __init__(self, writer: LineWriter, settings: LoggingSettings, wall_clock: Callable[[], float]) -> None:
        self._writer = writer
        self._wall_clock = wall_clock
        self._timestamps = Timestamps()
        self.apply(settings)

    def apply(self, settings: LoggingSettings) -> None:
        """Take over new settings, from the next event on."""
        self._threshold = LEVELS[str(settings.level)]
        self._as_text = settings.format == "text"

    def debug(self, event: str, /, **fields: object) -> None:
        """Tell what only someone looking for a fault wants to know."""
        self._write("debug", event, fields)

    def info(self, event: str, /, **fields: object) -> None:
        """Tell what is as it should be."""
        self._write("info", event, fields)

    def warning(self, event: str, /, **fields: object) -> None:
        """Tell what someone should look at some day."""
        self._write("warning", event, fields)

    def error(self, event: str, /, **fields: object) -> None:
        """Tell what someone should look at now."""
        self._write("error", event, fields)

    def _write(self, level: str, event: str, fields: Mapping[str, object]) -> None:
        if LEVELS[level] < self._threshold:
            return
        head = {"ts": self._timestamps.format(self._wall_clock()), "level": level, "event": event}
        self._writer.write(render_event(head, fields, as_text=self._as_text))
        self._writer.flush()

    def __repr__(self) -> str:
        level = next(name for name, value in LEVELS.items() if value == self._threshold)
        return f"<EventLog level={level} format={'text' if self._as_text else 'json'} {self._writer!r}>"


def render_event(head: Mapping[str, str], fields: Mapping[str, object], *, as_text: bool) -> bytes:
    """Make the line of an event; `head` (ts, level, event) comes first and wins over fields of those names.

    Long texts are cut, shorter and shorter, until the line fits into one atomic write; if nothing helps, the
    fields are left out.
    """
    render = _as_text if as_text else _as_json
    own = {name: value for name, value in fields.items() if name not in head}
    for limit in _TEXT_LIMITS:
        line = render({**head, **_plain_fields(own, limit)})
        if len(line) <= MAX_LINE:
            return line
    return render({**{name: value[:64] for name, value in head.items()}, "fields": "too long to log"})


def _plain_fields(fields: Mapping[str, object], limit: int) -> dict[str, object]:
    return {
        str(name)[:limit]: _MASK if str(name).lower().replace("-", "_") in _SECRETS else _plain(value, limit)
        for name, value in fields.items()
    }


def _plain(value: object, limit: int) -> object:
    """Reduce a value to what JSON can say, its texts cut to `limit` characters."""
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if value - value == 0 else str(value)  # JSON has no infinity, nor not-a-number
        case Mapping():
            return _plain_fields(value, limit)
        case list() | tuple() | set() | frozenset():
            return [_plain(item, limit) for item in value]
        case bytes():
            text = value.decode("utf-8", "backslashreplace")
        case _:
            text = str(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _as_json(record: Mapping[str, object]) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode("ascii") + b"\n"


def _as_text(record: Mapping[str, object]) -> bytes:
    head = [bare(str(record[name])) for name in ("ts", "level", "event")]
    rest = [f"{bare(name)}={_value(value)}" for name, value in record.items() if name not in ("ts", "level", "event")]
    return " ".join(head + rest).encode("ascii") + b"\n"


def _value(value: object) -> str:
    if isinstance(value, str):
        plain = bare(value)
        return plain if plain and " " not in plain and plain == value else json_string(value)
    return json.dumps(value, separators=(",", ":"))
