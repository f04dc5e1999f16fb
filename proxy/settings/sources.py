"""The two sources: where they are, how they are spoken to, and how long they may take.

Contract section 2, keys `legacy` and `target`. Only their `url` is required.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import Field, GetCoreSchemaHandler, ValidationInfo, model_validator
from pydantic_core import CoreSchema, core_schema

from proxy.settings.addresses import UpstreamUrl, parse_upstream
from proxy.settings.header_rules import HeaderNameToRemove, HeaderNameToSet, HeaderValue, is_sensitive
from proxy.settings.raw import Secret
from proxy.settings.scalars import (
    Count,
    CountOrZero,
    Duration,
    Flag,
    Scalar,
    number,
    parsed,
    read_text,
    rejected,
)
from proxy.settings.section import Section

LABEL_PATTERN: Final = r"^[A-Za-z0-9_.-]{1,64}$"
_LABEL: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_LITERAL_HOST: Final = re.compile(r"[A-Za-z0-9_.\[\]:-]{1,255}")
_PREFIX: Final = re.compile(r"(?:/[!$%&'()*+,./0-9:;=@A-Z_a-z~-]*)?")


def _parse_label(text: str) -> str:
    if not _LABEL.fullmatch(text):
        raise ValueError("expected 1 to 64 of the characters A-Z a-z 0-9 _ . -")
    return text


def _parse_host(text: str) -> str:
    if not _LITERAL_HOST.fullmatch(text):
        raise ValueError("expected preserve, upstream, or a literal host such as images.example.com")
    return text


def _parse_prefix(text: str) -> str:
    if not _PREFIX.fullmatch(text):
        raise ValueError("expected a path that starts with /, without spaces, ? or #")
    return text.rstrip("/")


class _FilePath(Scalar):
    """A path; a relative one counts from the configuration file's directory."""

    __slots__ = ()

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        def read(value: object, info: ValidationInfo) -> object:
            written = self.accept(value)
            directory = (info.context or {}).get("directory", Path())
            return None if written is None else str(directory / str(written))

        return core_schema.with_info_plain_validator_function(read)


def _read_path(value: object) -> str:
    text = read_text(value)
    if not text or "\0" in text:
        raise rejected("expected a file path", "leave the key out, or write null")
    return text


Label = Annotated[str, parsed(_parse_label, {"type": "string", "pattern": LABEL_PATTERN})]
UpstreamHost = Annotated[str, parsed(_parse_host, {"type": "string", "minLength": 1})]
PathPrefix = Annotated[str, parsed(_parse_prefix, {"type": "string", "pattern": "^(/.*)?$"})]
Url = Annotated[UpstreamUrl, parsed(parse_upstream, {"type": "string", "pattern": "^(https?://|unix:/)"}, private=True)]
OptionalPath = Annotated[str | None, _FilePath(_read_path, {"type": "string", "minLength": 1}, nullable=True)]
OptionalText = Annotated[str | None, Scalar(read_text, {"type": "string"}, nullable=True)]


class Headers(Section):
    """Changes to the request headers a source is sent."""

    set: Mapping[HeaderNameToSet, HeaderValue] = Field(
        default_factory=dict, description="Request headers set, replacing any of the same name."
    )
    remove: tuple[HeaderNameToRemove, ...] = Field(
        default=(), description="Names of request headers that are not passed on."
    )

    @model_validator(mode="after")
    def _mark_secrets(self) -> Self:
        folded: set[str] = set()
        for name in self.set:
            if name.lower() in folded:
                raise rejected(f"{name} is set twice (header names are the same in any case)")
            folded.add(name.lower())
        secrets = {name: Secret(value) for name, value in self.set.items() if is_sensitive(name)}
        # the model is still being built: nobody has seen it unmarked
        object.__setattr__(self, "set", {**self.set, **secrets})
        return self


class Tls(Section):
    """TLS towards a source; only `https` uses it."""

    ca_file: OptionalPath = Field(None, description="PEM file of the authorities trusted instead of the system's.")
    cert_file: OptionalPath = Field(None, description="PEM file of the client certificate shown to the source.")
    key_file: OptionalPath = Field(None, description="PEM file of the client certificate's private key.")
    server_name: OptionalText = Field(
        None,
        description="Name sent as SNI and expected in the source's certificate, instead of the URL's host.",
    )


class Pool(Section):
    """Connections to a source, per process."""

    max_connections: Count = Field(1024, description="Connections open to the source at once.")
    max_idle: CountOrZero = Field(64, description="Idle connections kept for reuse.")
    idle_timeout: Duration = Field(
        4.0,
        description="An idle connection is closed after this long; keep it below the upstream's own limit.",
    )
    max_pending: CountOrZero = Field(
        10_000, description="Requests that may wait for a connection; one more fails at once as an overload."
    )


class TargetPool(Pool):
    """Connections to the target, per process."""

    max_connections: Count = Field(256, description="Connections open to the source at once.")


class CircuitBreaker(Section):
    """When the target is left alone for a while."""

    enabled: Flag = Field(
        default=True, description="Whether repeated failures of the target send everything to legacy."
    )
    window: Duration = Field(10.0, description="Time over which the failure ratio is taken.")
    min_requests: Count = Field(20, description="Requests in the window before the ratio counts.")
    failure_ratio: Annotated[float, number(0, 1, above=True)] = Field(
        0.5, description="Share of failed requests in the window at which the breaker opens."
    )
    consecutive: Count = Field(5, description="Failures in a row at which the breaker opens whatever the ratio.")
    open_for: Duration = Field(5.0, description="How long an open breaker waits before it probes the target.")
    probes: Count = Field(3, description="Probes that must succeed before users are sent to the target again.")


class Source(Section):
    """What both sources have."""

    name: Label = Field(description="What users see: response headers, logs, and the metric label `source`.")
    url: Url = Field(
        description="Where the source is: http://, https:// or unix:; a path is put before every request's."
    )
    timeout: Duration = Field(description="Time for one attempt, until its response starts downstream.")
    connect_timeout: Duration = Field(1.0, description="Time to connect, TLS handshake included.")
    host: UpstreamHost = Field(
        description="The Host sent: `preserve` the client's, `upstream` for the URL's own, or a literal one."
    )
    strip_prefix: PathPrefix = Field(
        "", description="Removed from the start of the path before the URL's base path is added."
    )
    headers: Headers = Field(default=Headers(), description="Changes to the request headers this source is sent.")
    tls: Tls = Field(default=Tls(), description="TLS towards this source, for an https URL.")
    pool: Pool = Field(default=Pool(), description="Connections to this source, per process.")


class LegacySource(Source):
    """The gallery endpoint that has always served everybody, and the way back."""

    name: Label = Field("postgresql", description="What users see: response headers, logs, and the label `source`.")
    timeout: Duration = Field(30.0, description="Time for one attempt, until its response starts downstream.")
    host: UpstreamHost = Field(
        "preserve",
        description="The Host sent: `preserve` the client's, `upstream` for the URL's own, or a literal one.",
    )


class TargetSource(Source):
    """The Image Service that users move to."""

    name: Label = Field("image_service", description="What users see: response headers, logs, and the label `source`.")
    timeout: Duration = Field(5.0, description="Time for one attempt, until its response starts downstream.")
    host: UpstreamHost = Field(
        "upstream",
        description="The Host sent: `preserve` the client's, `upstream` for the URL's own, or a literal one.",
    )
    pool: TargetPool = Field(default=TargetPool(), description="Connections to this source, per process.")
    circuit_breaker: CircuitBreaker = Field(
        default=CircuitBreaker(), description="When the target is left alone for a while."
    )
