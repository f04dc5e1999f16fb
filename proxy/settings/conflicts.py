"""Values that are right one by one and wrong together.

Pure. `schema` refuses a configuration that has any; `problems` reports each at its line.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.core.model import PROXY_SOURCE
from proxy.settings.errors import KeyPath, dotted
from proxy.settings.units import format_duration, format_size

if TYPE_CHECKING:
    from proxy.settings.schema import Settings

CONFLICTS: Final = "conflicts"
"""The pydantic error type under which `Settings` carries them, in the context key of the same name."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """`path` is the key to change; `others` are the keys it disagrees with."""

    path: KeyPath
    message: str
    others: tuple[KeyPath, ...] = ()

    def __str__(self) -> str:
        return f"{dotted(self.path)}: {self.message}"


def find_conflicts(settings: "Settings") -> tuple[Conflict, ...]:
    """Every conflict in settings whose values are each valid."""
    return (
        *_between_sources(settings),
        *_in_tls(settings),
        *_in_users(settings),
        *_in_operations(settings),
        *_in_time_and_memory(settings),
    )


def _between_sources(settings: "Settings") -> Iterator[Conflict]:
    for role in ("legacy", "target"):
        if getattr(settings, role).name == PROXY_SOURCE:
            yield Conflict(
                (role, "name"),
                f"`{PROXY_SOURCE}` is reserved (the metric label of answers made by cutover itself)",
            )
    if settings.legacy.name == settings.target.name:
        message = f"must differ from legacy.name ({settings.legacy.name}): metrics could not tell them apart"
        yield Conflict(("target", "name"), message, (("legacy", "name"),))
    if settings.listen == settings.admin.listen and getattr(settings.listen, "port", None) != 0:
        yield Conflict(("admin", "listen"), "must differ from `listen`", (("listen",),))


def _in_tls(settings: "Settings") -> Iterator[Conflict]:
    for role in ("legacy", "target"):
        tls = getattr(settings, role).tls
        pairs = (("cert_file", "key_file"), ("key_file", "cert_file"))
        for given, needed in pairs:
            if getattr(tls, given) is not None and getattr(tls, needed) is None:
                yield Conflict((role, "tls", given), f"needs {needed} too", ((role, "tls", needed),))


def _in_users(settings: "Settings") -> Iterator[Conflict]:
    legacy = set(settings.rollout.users.legacy)
    for index, user in enumerate(settings.rollout.users.target):
        if user in legacy:
            # which user it is stays out of the message: user ids are not for logs
            yield Conflict(
                ("rollout", "users", "target", index),
                "this user is in both lists",
                (("rollout", "users", "legacy"),),
            )


def _in_operations(settings: "Settings") -> Iterator[Conflict]:
    seen: dict[str, int] = {}
    for index, operation in enumerate(settings.operations):
        first = seen.setdefault(operation.name, index)
        if first != index:
            message = f"the name `{operation.name}` is taken by operations[{first}]; each needs its own"
            yield Conflict(("operations", index, "name"), message, (("operations", first, "name"),))
        timeout_s = operation.timeout or settings.target.timeout
        if operation.hedge_after is not None and operation.hedge_after >= timeout_s:
            yield Conflict(
                ("operations", index, "hedge_after"),
                f"must be shorter than its timeout ({format_duration(timeout_s)})",
                (("operations", index, "timeout"), ("target", "timeout")),
            )


def _in_time_and_memory(settings: "Settings") -> Iterator[Conflict]:
    fallback, limits = settings.fallback, settings.limits
    if fallback.hedge_after is not None and fallback.hedge_after >= settings.target.timeout:
        yield Conflict(
            ("fallback", "hedge_after"),
            f"must be shorter than target.timeout ({format_duration(settings.target.timeout)})",
            (("target", "timeout"),),
        )
    if fallback.response_buffer > limits.buffered_bytes:
        held = format_size(limits.buffered_bytes)
        yield Conflict(
            ("fallback", "response_buffer"),
            f"must not exceed limits.buffered_bytes ({held}), which bounds all held bodies together",
            (("limits", "buffered_bytes"),),
        )
