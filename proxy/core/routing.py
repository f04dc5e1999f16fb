"""route and decide: which operation a request is, and which source is asked first.

Pure tables and ladders. Neighbours: `identity` and `bucketing` supply user and bucket, `net.handler` acts on
the `Decision`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from proxy.core.model import OTHER_OPERATION, Decision, Reason, Role, Route

# One raw path segment. Dot segments and encoded separators never match: an upstream that decodes them would
# see another path than the one that was routed (contract section 2).
_SEGMENT: Final = rb"(?!\.{1,2}(?:/|\Z))(?:(?!%2[eEfF]|%5[cC]|%00)[^/])+"
_MOST_REMEMBERED: Final = 1024  # paths of a method
_LONGEST_REMEMBERED: Final = 256  # bytes
_PARAMETER: Final = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]*\}")


@dataclass(frozen=True, slots=True)
class Operation:
    """A named route. `percentage`, `timeout_s` and `hedge_after_s` override the global ones unless None."""

    name: str
    methods: tuple[str, ...] = ()
    path: str = ""
    route: Route = Route.SPLIT
    percentage: int | None = None
    timeout_s: float | None = None
    hedge_after_s: float | None = None


OTHER: Final = Operation(name=OTHER_OPERATION, route=Route.LEGACY)


class OperationTable:
    """Matches a request to the first operation that fits; its answers never change, the latest are remembered."""

    __slots__ = ("_by_method", "_seen", "operations")

    def __init__(self, operations: Sequence[Operation]) -> None:
        self.operations = (*operations, OTHER)
        methods = {method for operation in operations for method in operation.methods}
        if "GET" in methods:
            methods.add("HEAD")
        self._by_method = {method.encode(): _compile(method, operations) for method in methods}
        self._seen: dict[bytes, dict[bytes, Operation]] = {method: {} for method in self._by_method}

    def __repr__(self) -> str:
        return f"<OperationTable {', '.join(operation.name for operation in self.operations)}>"

    def match(self, method: bytes, path: bytes) -> Operation:
        """The first operation for this method and raw path (no query), else `OTHER`."""
        seen = self._seen.get(method)
        if seen is None:
            return OTHER
        operation = seen.get(path)
        if operation is None:
            operation = self._match(method, path)
            if len(path) <= _LONGEST_REMEMBERED:
                if len(seen) >= _MOST_REMEMBERED:
                    seen.clear()
                seen[path] = operation
        return operation

    def _match(self, method: bytes, path: bytes) -> Operation:
        pattern, candidates = self._by_method[method]
        found = pattern.match(path)
        return candidates[found.lastindex - 1] if found and found.lastindex else OTHER


def _compile(method: str, operations: Sequence[Operation]) -> tuple[re.Pattern[bytes], tuple[Operation, ...]]:
    """One pattern a method, one group an operation: the group that matched names it."""
    candidates = tuple(
        operation
        for operation in operations
        if method in operation.methods or (method == "HEAD" and "GET" in operation.methods)
    )
    groups = b"|".join(b"(" + _path_pattern(operation.path) + b")" for operation in candidates)
    return re.compile(b"(?:" + groups + rb")\Z", re.DOTALL), candidates


def _path_pattern(path: str) -> bytes:
    literals = [re.escape(literal.encode()) for literal in _PARAMETER.split(path)]
    return _SEGMENT.join(literals)


@dataclass(frozen=True, slots=True)
class RolloutPolicy:
    """Everything the decision depends on apart from the request itself."""

    enabled: bool = False
    percentage: int = 0
    kill_switch: bool = False
    salt_prefix: bytes = b""
    always_target: frozenset[bytes] = field(default_factory=frozenset)
    always_legacy: frozenset[bytes] = field(default_factory=frozenset)
    anonymous_by_address: bool = False


def effective_percentage(policy: RolloutPolicy, operation: Operation) -> int:
    """The share that applies to an operation: its own if it has one, but a global 0 is 0 for all."""
    if policy.percentage == 0 or operation.percentage is None:
        return policy.percentage
    return operation.percentage


def choose_source(
    policy: RolloutPolicy,
    operation: Operation,
    user_id: bytes | None,
    bucket: int | None,
    forced: Role | None = None,
) -> Decision:
    """Decide the first source, before the breaker has its say.

    `bucket` is that of the user id or, when `anonymous_by_address`, of the client address; None when there
    is neither. `forced` is the force header's wish, its token already checked.
    """
    if policy.kill_switch:
        return Decision(Role.LEGACY, Reason.KILL_SWITCH, bucket)
    if not policy.enabled:
        return Decision(Role.LEGACY, Reason.DISABLED, bucket)
    if operation.route is not Route.SPLIT:
        role = Role.LEGACY if operation.route is Route.LEGACY else Role.TARGET
        return Decision(role, Reason.OPERATION, bucket)
    if forced is not None:
        return Decision(forced, Reason.FORCED, bucket)
    if user_id is not None:
        if user_id in policy.always_target:
            return Decision(Role.TARGET, Reason.LISTED, bucket)
        if user_id in policy.always_legacy:
            return Decision(Role.LEGACY, Reason.LISTED, bucket)
    percentage = effective_percentage(policy, operation)
    if percentage in (0, 100):
        return Decision(Role.TARGET if percentage else Role.LEGACY, Reason.PERCENTAGE, bucket)
    return _by_share(percentage, user_id, bucket)


def _by_share(percentage: int, user_id: bytes | None, bucket: int | None) -> Decision:
    reason = Reason.ANONYMOUS if user_id is None else Reason.BUCKET
    inside = bucket is not None and bucket < percentage
    return Decision(Role.TARGET if inside else Role.LEGACY, reason, bucket)
