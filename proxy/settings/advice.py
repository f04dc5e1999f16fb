"""What is legal in a configuration and will surprise somebody.

Pure. `load` adds the line and makes warnings of it; nothing here refuses a file.
"""

from collections.abc import Iterator
from typing import Final

from proxy.core.model import Route
from proxy.settings.errors import KeyPath
from proxy.settings.schema import Settings, TcpAddress

Advice = tuple[KeyPath, str]

SHORTEST_GOOD_TOKEN: Final = 16  # characters
ONE_CREDENTIAL: Final = (
    "every user then reaches the target with one credential, so the target must be told the user by a header"
    " the edge vouches for, and a CDN's cache key must contain it"
)
_REPEATABLE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_NO_WAY_BACK: Final = "writes fall back only when nothing was sent, so a failure after that reaches the user"
_HEDGED: Final = frozenset({"GET", "HEAD"})


def find_advice(settings: Settings) -> tuple[Advice, ...]:
    """Every surprise in valid settings, as a key and a sentence."""
    return (
        *_places(settings),
        *_credentials(settings),
        *_admin(settings),
        *_rollout(settings),
        *_operations(settings),
    )


def _places(settings: Settings) -> Iterator[Advice]:
    if settings.target.url == settings.legacy.url:
        yield ("target", "url"), "is the same as legacy.url: nothing will move"
    listen = settings.listen
    for name, source in (("legacy", settings.legacy), ("target", settings.target)):
        if isinstance(listen, TcpAddress) and listen.port == source.url.port and _is_this_machine(source.url.host):
            yield (name, "url"), "leads back to the port that cutover itself listens on"


def _is_this_machine(host: str) -> bool:
    return TcpAddress(host, 0).is_local


def _credentials(settings: Settings) -> Iterator[Advice]:
    for name, value in settings.target.headers.set.items():
        key = ("target", "headers", "set", name)
        if name.lower() == "authorization":
            yield key, ONE_CREDENTIAL
        if not value or value.lower() in ("bearer", "basic"):
            yield key, "its value is empty: is the variable or file it comes from set?"


def _admin(settings: Settings) -> Iterator[Advice]:
    admin = settings.admin
    if not admin.listen.is_local and admin.token is None:
        yield (
            ("admin", "listen"),
            "the admin API listens beyond loopback without admin.token, so it will refuse changes",
        )
    token = admin.token
    if token is not None and len(token) < SHORTEST_GOOD_TOKEN:
        yield ("admin", "token"), f"is shorter than {SHORTEST_GOOD_TOKEN} characters and may be guessed"


def _rollout(settings: Settings) -> Iterator[Advice]:
    rollout = settings.rollout
    if rollout.percentage > 0 and not rollout.enabled:
        yield (
            ("rollout", "percentage"),
            f"is {rollout.percentage} while rollout.enabled is false: nobody moves",
        )
    token = rollout.force.token
    if token is not None and len(token) < SHORTEST_GOOD_TOKEN:
        yield (
            ("rollout", "force", "token"),
            f"is shorter than {SHORTEST_GOOD_TOKEN} characters and may be guessed",
        )
    if not rollout.user_id and rollout.anonymous == "legacy":
        yield (
            ("rollout", "user_id"),
            "is empty and anonymous requests go to legacy: nobody moves at a percentage from 1 to 99",
        )


def _operations(settings: Settings) -> Iterator[Advice]:
    for index, operation in enumerate(settings.operations):
        key: KeyPath = ("operations", index)
        unsafe = [method for method in operation.methods if method not in _REPEATABLE]
        replayed = settings.fallback.enabled and settings.fallback.unsafe_methods is not False
        if unsafe and operation.route is not Route.LEGACY and not replayed:
            methods = ", ".join(unsafe)
            yield (*key, "route"), f"`{operation.name}` may send {methods} to the target: {_NO_WAY_BACK}"
        if operation.hedge_after is not None and not _HEDGED.intersection(operation.methods):
            yield (*key, "hedge_after"), "has no effect: only GET and HEAD are hedged"
