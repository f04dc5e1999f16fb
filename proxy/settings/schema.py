"""The configuration, typed: `Settings` is the file with every default filled in.

Mirrors contract section 2 key by key. Durations are seconds (float), sizes are bytes (int). What one value
must be is said by its type in `scalars`; what values must be together is said by `conflicts`. Neighbours:
`load` makes it from a file, `snapshot` from it what a request reads.
"""

from typing import Final, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from proxy.settings.addresses import ListenAddress, TcpAddress, UnixAddress, UpstreamUrl
from proxy.settings.conflicts import CONFLICTS, find_conflicts
from proxy.settings.operations import DEFAULT_OPERATIONS, Operation, RouteMatch
from proxy.settings.raw import Secret
from proxy.settings.rollout import Force, Rollout, UserIdSource, Users
from proxy.settings.scalars import Flag
from proxy.settings.section import Section
from proxy.settings.serving import Admin, Fallback, Forwarded, Limits, Listen, Logging, StatusSet, Workers
from proxy.settings.sources import CircuitBreaker, Headers, LegacySource, Pool, Source, TargetSource, Tls

__all__ = [
    "RESTART_KEYS",
    "Admin",
    "CircuitBreaker",
    "Fallback",
    "Force",
    "Forwarded",
    "Headers",
    "LegacySource",
    "Limits",
    "ListenAddress",
    "Logging",
    "Operation",
    "Pool",
    "Rollout",
    "RouteMatch",
    "Secret",
    "Settings",
    "Source",
    "StatusSet",
    "TargetSource",
    "TcpAddress",
    "Tls",
    "UnixAddress",
    "UpstreamUrl",
    "UserIdSource",
    "Users",
]


RESTART_KEYS: Final = ("listen", "admin.listen", "workers")
"""The keys whose change takes effect at the next start; every other applies at once."""


class Settings(Section):
    """The whole configuration file. Only `legacy.url` and `target.url` are required."""

    listen: Listen = Field(
        TcpAddress("0.0.0.0", 8080),  # noqa: S104 - a sidecar serves its pod; the contract's default
        description="Where clients connect: host:port or unix:/path.",
    )
    workers: Workers = Field(1, description="Processes sharing the port; `auto` is one per available CPU.")
    admin: Admin = Field(default=Admin(), description="Health, metrics, status, and changes at run time.")
    legacy: LegacySource = Field(description="The source that has always served everybody, and the way back.")
    target: TargetSource = Field(description="The source that users move to.")
    rollout: Rollout = Field(default=Rollout(), description="Who is answered by the target.")
    operations: tuple[Operation, ...] = Field(
        default=DEFAULT_OPERATIONS,
        description="Named routes; the first match wins, and anything else is `other`, answered by legacy.",
    )
    fallback: Fallback = Field(default=Fallback(), description="What happens when the target fails.")
    limits: Limits = Field(default=Limits(), description="What a client may send, and how long things may take.")
    forwarded: Forwarded = Field(default=Forwarded(), description="The X-Forwarded-* and Via headers.")
    expose: Flag = Field(default=True, description="Whether responses say which source answered and why (X-Cutover-*).")
    logging: Logging = Field(default=Logging(), description="Lines on standard output.")

    @model_validator(mode="after")
    def _refuse_conflicts(self) -> Self:
        conflicts = find_conflicts(self)
        if conflicts:
            raise PydanticCustomError(
                CONFLICTS,
                "{text}",
                {"text": "\n".join(str(one) for one in conflicts), "conflicts": conflicts},
            )
        return self
