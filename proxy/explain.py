"""Says what would be decided for a user, and why, without sending anything.

Neighbours: `cutover explain` and the admin API's `/explain` show it; `core.routing` decides.
"""

from typing import Final

from proxy.core.bucketing import bucket_of
from proxy.core.model import Reason, Route
from proxy.core.routing import Operation, choose_source, effective_percentage
from proxy.settings.snapshot import Snapshot

_ALWAYS: Final = {
    Reason.KILL_SWITCH: "the kill switch file exists",
    Reason.DISABLED: "rollout.enabled is false",
    Reason.OPERATION: "the operation has a fixed route",
    Reason.LISTED: "the user is listed in rollout.users",
    Reason.PERCENTAGE: "the percentage is 0 or 100: everybody gets the same",
    Reason.ANONYMOUS: "the request has no user id",
    Reason.BUCKET: "the user's bucket decides",
}


def explain(snapshot: Snapshot, user: str | None, method: str, path: str) -> dict[str, object]:
    """The operation, bucket, decision and reason for one request of `user` (None or "" for anonymous).

    `moves_at` is the lowest percentage at which this user is answered by the target, None where no percentage
    matters; `stays` then says why. Raises ValueError for a method or path that no request could have.
    """
    if not method.isascii() or not method.isalpha():
        raise ValueError(f"not a method: {method!r}")
    if not path.startswith("/"):
        raise ValueError("the path must start with /")
    user_id = user.strip().encode() if user and user.strip() else None
    policy = snapshot.rollout
    raw_path = path.partition("?")[0].encode()
    operation = snapshot.operations.match(method.upper().encode(), raw_path)
    bucket = bucket_of(user_id, policy.salt_prefix) if user_id is not None else None
    decision = choose_source(policy, operation, user_id, bucket)
    listed = user_id in policy.always_target or user_id in policy.always_legacy
    movable = operation.route is Route.SPLIT and not listed and bucket is not None
    return {
        "user": user,
        "method": method.upper(),
        "path": path,
        "operation": operation.name,
        "bucket": bucket,
        "source": snapshot.source(decision.role).name,
        "role": decision.role,
        "reason": decision.reason,
        "because": _ALWAYS[decision.reason],
        "percentage": effective_percentage(policy, operation),
        "enabled": policy.enabled,
        "moves_at": bucket + 1 if movable and bucket is not None else None,
        "stays": None if movable else _why_no_percentage_matters(operation, listed=listed),
    }


def _why_no_percentage_matters(operation: Operation, *, listed: bool) -> str:
    if operation.route is not Route.SPLIT:
        return f"operation {operation.name} always goes to {operation.route}"
    return "the user is listed in rollout.users" if listed else "there is no user id"
