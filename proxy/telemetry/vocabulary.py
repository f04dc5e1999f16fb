"""What log lines say, in words: each event with its level and meaning, each field of an access line.

Only documents read this; nothing that logs looks here. `tests/telemetry/test_vocabulary.py` compares it with the
calls that log and with a line as it is written, so an event that nobody explains does not pass. Neighbours:
`events` and `access_log` write the lines.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple


class Event(NamedTuple):
    """`levels` are those it can have; `fields` those it has beside `ts`, `level` and `event`."""

    levels: tuple[str, ...]
    fields: tuple[str, ...]
    meaning: str


_CHANGE: Final = ("remote", "request")

EVENTS: Final[Mapping[str, Event]] = {
    "started": Event(
        ("info",),
        ("version", "listen", "admin", "workers", "revision", "percentage", "enabled"),
        "Every worker serves. `listen` and `admin` are the addresses as bound.",
    ),
    "draining": Event(
        ("info",),
        ("connections",),
        "SIGTERM or SIGINT came: `/readyz` answers 503, and what is under way is finished.",
    ),
    "stopped": Event(("info",), (), "The last line of a program that ended as it should."),
    "config_applied": Event(
        ("info",),
        ("origin", "revision", "percentage", "enabled", "override"),
        "A changed configuration is in force in every worker.",
    ),
    "config_rejected": Event(
        ("error",),
        ("file", "line", "key", "message", "problems", "revision_in_force", "revision"),
        "A changed configuration is invalid, or a worker could not take it; what was in force before stays. Said once"
        " for each content.",
    ),
    "config_warning": Event(
        ("warning",),
        ("key", "message"),
        "Something legal in the configuration that will surprise somebody, or a key that needs a restart.",
    ),
    "config_polled": Event(
        ("warning",),
        ("message", "reason"),
        "The system does not tell of changes of files (no inotify to be had): they are looked for instead.",
    ),
    "watcher_failed": Event(
        ("error",), ("error",), "Watching the configuration failed unexpectedly; it is started again."
    ),
    "rollout_changed": Event(
        ("warning",),
        (
            "origin",
            "old_percentage",
            "new_percentage",
            "old_enabled",
            "new_enabled",
            "old_kill_switch",
            "new_kill_switch",
            "override",
            "revision",
        ),
        "Users move: the audit line of every change of what is in force, whoever made it (`origin`).",
    ),
    "admin_change": Event(
        ("info",),
        (*_CHANGE, "percentage", "enabled", "revision", "persisted", "note"),
        "The admin API made a change.",
    ),
    "admin_change_refused": Event(
        ("info",), (*_CHANGE, "why"), "The admin API refused one: token, cross-site, `If-Match`, an unwritable file."
    ),
    "rollout_order": Event(
        ("info",), _CHANGE, "Somebody gave the staged rollout's controller an order by the live page, and it answered."
    ),
    "live_page_failed": Event(("info",), ("error",), "The live page's observer failed and was started again."),
    "breaker": Event(
        ("warning",),
        ("state", "was", "source", "worker"),
        "A worker's circuit breaker became `admitting`, `probing` or `rejecting`.",
    ),
    "upstream_unreachable": Event(
        ("warning",),
        ("source", "kind", "detail"),
        "At the start or after a change of its address a source can't be connected to; it is used as soon as it can.",
    ),
    "forwarded_untrusted": Event(
        ("warning",),
        ("peer",),
        "X-Forwarded-* of a peer that is not in `forwarded.trusted_proxies` were discarded. Said once; then only"
        " counted.",
    ),
    "worker_started": Event(("debug", "info"), ("worker", "pid"), "A worker process serves; `debug` at the start."),
    "worker_ended": Event(("info",), ("worker", "pid", "signal", "status"), "A worker ended as it was told to."),
    "worker_died": Event(
        ("warning",),
        ("worker", "pid", "signal", "status", "why"),
        "A worker ended by itself, or hung and was killed. It is replaced.",
    ),
    "worker_not_started": Event(
        ("error",), ("worker", "error"), "The system refused a process; it is tried again after a pause."
    ),
    "worker_not_renewed": Event(
        ("error",), ("worker", "why"), "Its replacement did not come to serve; the worker before it serves on."
    ),
    "workers_renewed": Event(("info",), ("workers",), "All workers were replaced, as SIGUSR2 asked."),
}

ACCESS_FIELDS: Final[Mapping[str, str]] = {
    "ts": "When the request ended: RFC 3339, UTC, milliseconds.",
    "level": "Always `info`.",
    "event": "Always `request`.",
    "request_id": "`X-Request-Id` as sent to the sources and to the client; the client's own if it is acceptable.",
    "trace_id": "The trace of `traceparent`: the client's, or a new one.",
    "method": "The request's method, cut at 32 characters.",
    "path": "The path, as sent, cut at 1 KiB; the query is dropped.",
    "operation": "The operation's name; `other` where none matches.",
    "bucket": "0 to 99; null without a user id. The id itself is never logged.",
    "source": "Who answered, by name; `proxy` for an error made here.",
    "reason": "Why the first source was chosen, or the fault of a refused request.",
    "status": "The status sent; 499 where the client left.",
    "duration_ms": "Head received to last byte written.",
    "bytes_in": "Bytes of the request's body.",
    "bytes_out": "Bytes of the response's body.",
    "fallback": "What failed on the target, where legacy was asked after it; absent otherwise.",
    "attempts": "Each exchange with a source, in order: `source`, `outcome`, `status` (null without one) and `ms`.",
}
