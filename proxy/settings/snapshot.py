"""One immutable, validated configuration, compiled into what a request reads.

A request takes `current.snapshot` once, at its head, and sees nothing else to its end. Neighbours: `load` gives
the settings, `app` swaps the snapshot, `net.handler` reads it.
"""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from proxy.core.breaker import BreakerPolicy
from proxy.core.bucketing import salt_prefix
from proxy.core.fallback import FallbackPolicy, Replay
from proxy.core.fields import DROP_FOR_LEGACY, DROP_FOR_TARGET, FieldTable, request_table, response_table
from proxy.core.identity import Extractor, IdKind
from proxy.core.intake import HeadLimits
from proxy.core.model import Role
from proxy.core.response_head import ResponseRules
from proxy.core.rewrite import UpstreamFace
from proxy.core.routing import Operation, OperationTable, RolloutPolicy
from proxy.settings.addresses import IpNetwork
from proxy.settings.schema import CircuitBreaker, Limits, Settings, Source
from proxy.settings.schema import Operation as ConfiguredOperation

_REPLAY: Final = {False: Replay.NEVER, True: Replay.ALWAYS, "idempotency_key": Replay.WITH_IDEMPOTENCY_KEY}
_HOST_KEPT: Final = "preserve"
_HOST_OF_URL: Final = "upstream"
_REMEMBERED_PEERS: Final = 4096


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """A source as requests see it. Times in seconds."""

    role: Role
    name: str
    face: UpstreamFace
    timeout_s: float


@dataclass(frozen=True, slots=True)
class ForceRule:
    """The force header's lower-case name and the token that its values must end with."""

    header: bytes
    token: bytes


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything a request needs to know, of one revision.

    `trusts(address)` says whether a peer's X-Forwarded-* are believed; None stands for a Unix socket's peer.
    """

    settings: Settings
    revision: str
    rollout: RolloutPolicy
    operations: OperationTable
    extractors: tuple[Extractor, ...]
    force: ForceRule | None
    legacy: SourcePlan
    target: SourcePlan
    fallback: FallbackPolicy
    breaker: BreakerPolicy
    hedge_after_s: float | None
    limits: Limits
    head_limits: HeadLimits
    request_fates: FieldTable
    response_rules: ResponseRules
    trusts: Callable[[str | None], bool]
    expose: bool
    via: bool

    def source(self, role: Role) -> SourcePlan:
        """The plan of a role."""
        return self.legacy if role is Role.LEGACY else self.target

    def with_rollout(self, percentage: int, *, enabled: bool) -> "Snapshot":
        """The same snapshot with another share of users."""
        changed = self.settings.rollout.model_copy(update={"percentage": percentage, "enabled": enabled})
        return replace(
            self,
            settings=self.settings.model_copy(update={"rollout": changed}),
            rollout=replace(self.rollout, percentage=percentage, enabled=enabled),
        )

    def with_kill_switch(self, *, engaged: bool) -> "Snapshot":
        """The same snapshot with the kill switch engaged or not."""
        return replace(self, rollout=replace(self.rollout, kill_switch=engaged))


def compile_snapshot(settings: Settings, revision: str) -> Snapshot:
    """Compile validated settings."""
    rollout = settings.rollout
    extractors = tuple(_extractor(source.kind, source.name) for source in rollout.user_id)
    force = None
    if rollout.force.token:
        force = ForceRule(rollout.force.header.lower().encode(), rollout.force.token.encode())
    return Snapshot(
        settings=settings,
        revision=revision,
        rollout=RolloutPolicy(
            enabled=rollout.enabled,
            percentage=rollout.percentage,
            salt_prefix=salt_prefix(rollout.salt),
            always_target=frozenset(user.encode() for user in rollout.users.target),
            always_legacy=frozenset(user.encode() for user in rollout.users.legacy),
            anonymous_by_address=rollout.anonymous == "client_ip",
        ),
        operations=OperationTable([_operation(one) for one in settings.operations]),
        extractors=extractors,
        force=force,
        legacy=_plan(Role.LEGACY, settings.legacy, via=settings.forwarded.via),
        target=_plan(Role.TARGET, settings.target, via=settings.forwarded.via),
        fallback=FallbackPolicy(
            enabled=settings.fallback.enabled,
            statuses=frozenset(settings.fallback.statuses),
            request_buffer=settings.fallback.request_buffer,
            response_buffer=settings.fallback.response_buffer,
            replay=_REPLAY[settings.fallback.unsafe_methods],
        ),
        breaker=_breaker(settings.target.circuit_breaker),
        hedge_after_s=settings.fallback.hedge_after,
        limits=settings.limits,
        head_limits=HeadLimits(settings.limits.header_bytes, settings.limits.header_count, settings.limits.uri_bytes),
        request_fates=_request_fates(settings, extractors),
        response_rules=ResponseRules(response_table(), settings.limits.header_bytes, settings.limits.header_count),
        trusts=_trust(settings.forwarded.trusted_proxies),
        expose=settings.expose,
        via=settings.forwarded.via,
    )


def _extractor(kind: str, name: str) -> Extractor:
    known = IdKind(kind)
    return Extractor(known, (name.lower() if known is IdKind.HEADER else name).encode())


def _operation(configured: ConfiguredOperation) -> Operation:
    return Operation(
        name=configured.name,
        methods=configured.methods,
        path=configured.path,
        route=configured.route,
        percentage=configured.percentage,
        timeout_s=configured.timeout,
        hedge_after_s=configured.hedge_after,
    )


def _breaker(configured: CircuitBreaker) -> BreakerPolicy:
    return BreakerPolicy(
        enabled=configured.enabled,
        window_s=configured.window,
        min_requests=configured.min_requests,
        failure_ratio=configured.failure_ratio,
        consecutive=configured.consecutive,
        open_for_s=configured.open_for,
        probes=configured.probes,
    )


def _plan(role: Role, source: Source, *, via: bool) -> SourcePlan:
    authority = source.url.authority.encode()
    hosts = {_HOST_KEPT: None, _HOST_OF_URL: authority}
    host = hosts.get(source.host, source.host.encode())
    face = UpstreamFace(
        name=source.name.encode(),
        authority=authority,
        drop_flag=DROP_FOR_LEGACY if role is Role.LEGACY else DROP_FOR_TARGET,
        host=host,
        base_path=source.url.base_path.encode(),
        strip_prefix=source.strip_prefix.encode(),
        set_lines=tuple(f"{name}: {value}".encode() for name, value in source.headers.set.items()),
        via=via,
    )
    return SourcePlan(role=role, name=source.name, face=face, timeout_s=source.timeout)


def _request_fates(settings: Settings, extractors: tuple[Extractor, ...]) -> FieldTable:
    kinds = {extractor.kind for extractor in extractors}
    noted = [b"cookie"] if IdKind.COOKIE in kinds else []
    if IdKind.JWT_CLAIM in kinds:
        noted.append(b"authorization")
    return request_table(
        noted=noted,
        identity=[extractor.name for extractor in extractors if extractor.kind is IdKind.HEADER],
        secret=[settings.rollout.force.header.lower().encode()],
        legacy_drops=_replaced(settings.legacy),
        target_drops=_replaced(settings.target),
    )


def _replaced(source: Source) -> list[bytes]:
    """Field names that this source gets anew or not at all."""
    return [name.lower().encode() for name in (*source.headers.set, *source.headers.remove)]


def _trust(networks: tuple[IpNetwork, ...]) -> Callable[[str | None], bool]:
    @lru_cache(maxsize=_REMEMBERED_PEERS)
    def trusts(address: str | None) -> bool:
        if address is None:
            return True  # a Unix socket: the file system has already said who may connect
        try:
            parsed = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(parsed, "ipv4_mapped", None)
        return any((mapped or parsed) in network for network in networks)

    return trusts
