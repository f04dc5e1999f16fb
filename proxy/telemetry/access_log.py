"""One line for each request (contract section 8), at the end of the request.

A line is put together from bytes, those parts that recur remembered; `json.dumps` takes 4.8 us with making its dict.
Never holds the user id, a query or a header's value. Neighbours: `net` makes the entry, `lines.LineWriter`
takes the line.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from zlib import crc32

from proxy.telemetry.lines import MAX_LINE, LineWriter
from proxy.telemetry.log_format import LoggingSettings, Timestamps, bare, json_string

MAX_PATH_BYTES: Final = 1024
_SHORT_PATH_BYTES: Final = 256
_MAX_METHOD_CHARACTERS: Final = 32

_TEXT: Final = (
    "%s info request %s %s %d %.3fms source=%s reason=%s operation=%s bucket=%s"
    " in=%d out=%d%s attempts=%s request_id=%s trace_id=%s\n"
)

_THOUSANDTHS: Final = [b".%03d" % number for number in range(1000)]
_PLAIN: Final = re.compile(rb"[ !#->@-\[\]-~]*").fullmatch  # a path without a query that needs no escapes

_MOST_LABELS: Final = 4096
_labels: Final[dict[tuple[str, int | None, str, str, int], bytes]] = {}

Attempt = tuple[str, str, int | None, float]
"""Source name, outcome, status (None when there was none), seconds."""


@dataclass(slots=True, init=False)
class AccessEntry:
    """What is told of one request. `path` may still have its query; the request id is a valid one.

    `__init__` is written out because mypyc compiles that, but not the one of a dataclass: 250 instructions for each
    request instead of 4,800.
    """

    ts: float  # seconds since the epoch
    request_id: bytes | str
    trace_id: bytes
    method: bytes | str
    path: bytes
    operation: str
    bucket: int | None
    source: str
    reason: str
    status: int
    duration_s: float
    bytes_in: int
    bytes_out: int
    attempts: Sequence[Attempt]
    fallback: str | None

    def __init__(  # noqa: PLR0913, PLR0917 - what a line tells; grouping it would cost what this saves
        self,
        ts: float,
        request_id: bytes | str,
        trace_id: bytes,
        method: bytes | str,
        path: bytes,
        operation: str,
        bucket: int | None,
        source: str,
        reason: str,
        status: int,
        duration_s: float,
        bytes_in: int,
        bytes_out: int,
        attempts: Sequence[Attempt] = (),
        fallback: str | None = None,
    ) -> None:
        self.ts = ts
        self.request_id = request_id
        self.trace_id = trace_id
        self.method = method
        self.path = path
        self.operation = operation
        self.bucket = bucket
        self.source = source
        self.reason = reason
        self.status = status
        self.duration_s = duration_s
        self.bytes_in = bytes_in
        self.bytes_out = bytes_out
        self.attempts = attempts
        self.fallback = fallback


class AccessLog:
    """Decides which requests get a line, and writes it.

    With `access: all`, `sample` keeps that share of requests, chosen by a hash of the request id (so that two
    sidecars on a request's way choose alike); requests with a fallback or a 5xx answer are always kept.
    `access: fallbacks` keeps those with a fallback, and nothing else.
    """

    __slots__ = ("_access", "_render", "_sample", "_threshold", "_timestamps", "_writer")

    def __init__(self, writer: LineWriter, settings: LoggingSettings) -> None:
        self._writer = writer
        self._timestamps = Timestamps()
        self.apply(settings)

    def apply(self, settings: LoggingSettings) -> None:
        """Take over new settings, from the next request on."""
        self._access = str(settings.access)
        self._sample = settings.sample
        self._threshold = round(settings.sample * 2**32)
        self._render = render_text if settings.format == "text" else render_json

    @property
    def enabled(self) -> bool:
        """False when no request gets a line: the entry need not be made."""
        return self._access != "off"

    def record(self, entry: AccessEntry) -> None:
        """Write the entry's line, if it is to have one; never blocks."""
        if self._access == "all":
            if self._sample < 1.0 and not self._sampled(entry):
                return
        elif self._access == "off" or entry.fallback is None:
            return
        ts = self._timestamps.format(entry.ts)
        line = self._render(entry, ts, MAX_PATH_BYTES)
        if len(line) > MAX_LINE:
            # A path of escapes grows fivefold; a longer line could interleave with another worker's.
            line = self._render(entry, ts, _SHORT_PATH_BYTES)
        self._writer.write(line)

    def _sampled(self, entry: AccessEntry) -> bool:
        if entry.fallback is not None or entry.status >= 500:
            return True
        request_id = entry.request_id
        return crc32(request_id if isinstance(request_id, bytes) else request_id.encode()) < self._threshold

    def __repr__(self) -> str:
        return f"<AccessLog access={self._access} sample={self._sample} {self._writer!r}>"


def render_json(entry: AccessEntry, ts: str, max_path_bytes: int) -> bytes:
    """Make the JSON line of an entry; ASCII only, exactly one newline."""
    request_id = entry.request_id
    # Ours are 32 hex digits, which need no escapes; `bytes.isalnum` knows ASCII only.
    if not isinstance(request_id, bytes) or not request_id.isalnum():
        request_id = bare(_text(request_id)).encode("ascii")
    path = entry.path
    if len(path) > max_path_bytes or not _PLAIN(path):
        path = bare(shown_path(path, max_path_bytes)).encode("ascii")
    key = entry.operation, entry.bucket, entry.source, entry.reason, entry.status
    labels = _labels.get(key)  # a dictionary of our own: `lru_cache` takes 700 instructions, this 350
    if labels is None:
        labels = _labels_json(*key)
        if len(_labels) >= _MOST_LABELS:
            _labels.clear()
        _labels[key] = labels
    attempts = entry.attempts
    if len(attempts) == 1:
        told = _attempt_json(attempts[0])
    else:
        told = b",".join([_attempt_json(attempt) for attempt in attempts])
    # A literal of %b and %d only: that is what mypyc takes apart, 1,000 instructions instead of 5,000.
    return (
        b'{"ts":"%b","level":"info","event":"request","request_id":"%b","trace_id":"%b","method":%b,"path":"%b",%b'
        b',"duration_ms":%b,"bytes_in":%d,"bytes_out":%d,%b"attempts":[%b]}\n'
    ) % (
        ts.encode("ascii"),
        request_id,
        entry.trace_id,
        _method_json(entry.method),
        path,
        labels,
        _milliseconds(entry.duration_s),
        entry.bytes_in,
        entry.bytes_out,
        b"" if entry.fallback is None else b'"fallback":%b,' % json_string(entry.fallback).encode("ascii"),
        told,
    )


def _attempt_json(attempt: Attempt) -> bytes:
    source, outcome, status, seconds = attempt
    return b"%b%b}" % (_attempt_start(source, outcome, status), _milliseconds(seconds))


def _milliseconds(seconds: float) -> bytes:
    """As `%.3f` writes it: that costs 1,000 instructions, this 200."""
    microseconds = int(seconds * 1e6 + 0.5)
    return b"%d%b" % (microseconds // 1000, _THOUSANDTHS[microseconds % 1000])


@lru_cache(maxsize=1024)
def _attempt_start(source: str, outcome: str, status: int | None) -> bytes:
    shown = "null" if status is None else status
    text = f'{{"source":{json_string(source)},"outcome":{json_string(outcome)},"status":{shown},"ms":'
    return text.encode("ascii")


def _labels_json(operation: str, bucket: int | None, source: str, reason: str, status: int) -> bytes:
    shown = "null" if bucket is None else bucket
    text = (
        f'"operation":{json_string(operation)},"bucket":{shown},"source":{json_string(source)}'
        f',"reason":{json_string(reason)},"status":{status}'
    )
    return text.encode("ascii")


@lru_cache(maxsize=64)
def _method_json(method: bytes | str) -> bytes:
    return json_string(_text(method)[:_MAX_METHOD_CHARACTERS]).encode("ascii")


def render_text(entry: AccessEntry, ts: str, max_path_bytes: int) -> bytes:
    """Make the line people read; the same facts in the same escapes."""
    attempts = ",".join(
        f"{bare(source)}:{bare(outcome)}:{'-' if status is None else status}:{seconds * 1000:.3f}ms"
        for source, outcome, status, seconds in entry.attempts
    )
    line = _TEXT % (
        ts,
        bare(_text(entry.method)[:_MAX_METHOD_CHARACTERS]) or "-",
        bare(shown_path(entry.path, max_path_bytes)) or "-",
        entry.status,
        entry.duration_s * 1000,
        bare(entry.source),
        bare(entry.reason) or "-",
        bare(entry.operation),
        "-" if entry.bucket is None else entry.bucket,
        entry.bytes_in,
        entry.bytes_out,
        "" if entry.fallback is None else f" fallback={bare(entry.fallback)}",
        attempts or "-",
        bare(_text(entry.request_id)),
        bare(_text(entry.trace_id)),
    )
    return line.encode("ascii")


def shown_path(path: bytes, max_bytes: int) -> str:
    r"""Cut the query and the excess off; bytes that are not UTF-8 become `\xNN`, as one would type them."""
    return path.partition(b"?")[0][:max_bytes].decode("utf-8", "backslashreplace")


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")
