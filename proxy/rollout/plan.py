"""The rollout plan, typed: `Plan` is the file with every default filled in (contract section 10).

What one value must be is said by its type, what values must be together by `plan_rules`. Durations are seconds.
Neighbours: `plan_file` makes it from a file, `plan_words` explains it, everything else reads it.
"""

from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from proxy.settings.raw import Secret
from proxy.settings.scalars import (
    Count,
    Duration,
    DurationOrZero,
    Flag,
    OptionalSecret,
    Scalar,
    choice,
    number,
    read_duration,
    read_text,
    rejected,
    whole_number,
)
from proxy.settings.section import Section
from proxy.settings.sources import OptionalText, Url
from proxy.settings.units import format_duration


class Seconds(float):
    """A bound that was written as a duration."""

    __slots__ = ()


class CheckKind(StrEnum):
    """What a check looks at: the key that says so, without its `_below` or `_above`."""

    QUANTILE = "quantile"
    ERROR_RATIO = "error_ratio"
    USER_ERROR_RATIO = "user_error_ratio"
    FALLBACK_RATIO = "fallback_ratio"
    CACHE_HIT_RATIO = "cache_hit_ratio"
    PROMQL = "promql"
    CLOUDWATCH = "cloudwatch"
    MANUAL = "manual"

    @property
    def counts_requests(self) -> bool:
        """Whether it judges a ratio of requests, as the sidecars count them."""
        return self not in (CheckKind.PROMQL, CheckKind.CLOUDWATCH, CheckKind.MANUAL)


def _read_bound(value: object) -> float:
    if isinstance(value, str):
        return Seconds(read_duration(value))
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e18:
        raise rejected("expected a number, or a duration such as 50ms")
    return float(value)


def _read_name(value: object) -> str:
    text = read_text(value).strip()
    if not text or not text.isprintable() or len(text) > 80:
        raise rejected("expected a name of 1 to 80 printable characters")
    return text


def _read_path(value: object) -> str:
    text = read_text(value).strip()
    if not text or not text.isprintable():
        raise rejected("expected a file's path, in printable characters")
    return text


def _optional(scalar: Scalar) -> Scalar:
    return Scalar(scalar.read, scalar.schema, scalar.show, nullable=True)


def _show_bound(value: float) -> object:
    return format_duration(value) if isinstance(value, Seconds) else value


_BOUND_SCHEMA: Final = {"type": ["number", "string"]}
_TEXT: Final = Scalar(_read_name, {"type": "string", "minLength": 1})
_PATH: Final = Scalar(_read_path, {"type": "string", "minLength": 1})
_RATIO: Final = _optional(number(0, 1, above=True))

Name = Annotated[str, _TEXT]
OptionalName = Annotated[str | None, _optional(_TEXT)]
OptionalBound = Annotated[float | None, Scalar(_read_bound, _BOUND_SCHEMA, _show_bound, nullable=True)]
OptionalRatio = Annotated[float | None, _RATIO]
OptionalSeconds = Annotated[float | None, Scalar(read_duration, {"type": "string"}, format_duration, nullable=True)]
OptionalUrl = Annotated[Any, _optional(Url.__metadata__[0])]


class Stage(Section):
    """One step: how many users, for how long."""

    percentage: Annotated[int, whole_number(1, 100)] = Field(description="Share of users on the target.")
    hold: Duration = Field(description="How long it stays so at least, watched, before the next step.")
    approval: Flag = Field(default=False, description="Whether a person must promote after GO.")


class Owner(Section):
    """Who answers for the rollout; `start` holds while one is missing."""

    approver: OptionalName = Field(None, description="Who has approved the plan.")
    on_call: OptionalName = Field(None, description="Who is there when it goes wrong.")


class CloudWatch(Section):
    """Where CloudWatch is; credentials come from the environment, as with every AWS tool."""

    region: Name = Field(description="Such as eu-west-1.")
    endpoint: OptionalUrl = Field(None, description="Another endpoint, for tests.")


class Observe(Section):
    """Where figures come from: the sidecars themselves or Prometheus, and CloudWatch."""

    sidecars: tuple[Url, ...] = Field(default=(), description="Admin ports that are scraped directly.")
    prometheus: OptionalUrl = Field(None, description="Prometheus' HTTP API, which scrapes every sidecar.")
    selector: OptionalText = Field(None, description='Narrows Prometheus\' series, as in `job="cutover"`.')
    cloudwatch: CloudWatch | None = Field(None, description="CloudWatch GetMetricData.")


class ConfigMap(Section):
    """A Kubernetes ConfigMap with the keys `percentage` and `enabled`, mounted into every sidecar's pod."""

    name: Name = Field(description="Its name.")
    namespace: OptionalName = Field(None, description="Where it is; the controller's own namespace if not said.")
    sidecars: Url = Field(description="Every sidecar's admin port, by a headless Service: all addresses are asked.")
    api: OptionalUrl = Field(None, description="The API server; the one of the cluster it runs in if not said.")
    account: Annotated[str, _TEXT] = Field(
        "/var/run/secrets/kubernetes.io/serviceaccount", description="The directory of the service account."
    )


class Apply(Section):
    """Where the percentage is put: the configuration file, every sidecar's admin API, or a ConfigMap."""

    file: OptionalText = Field(None, description="The configuration file, from the working directory.")
    sidecars: tuple[Url, ...] = Field(default=(), description="Admin ports; all are changed or none.")
    configmap: ConfigMap | None = Field(None, description="A ConfigMap that is mounted into every sidecar's pod.")
    token: OptionalSecret = Field(None, description="The token of the admin ports.")


class Metric(Section):
    """One CloudWatch metric, or an expression of metric math."""

    namespace: OptionalName = Field(None, description="Such as AWS/Lambda.")
    metric: OptionalName = Field(None, description="Such as Errors.")
    dimensions: dict[Name, Name] = Field(default_factory=dict, description="Such as {FunctionName: images}.")
    statistic: Annotated[str, choice("Sum", "Average", "Maximum", "Minimum", "SampleCount")] = Field(
        "Sum", description="How it is put together, within a minute and over all of them."
    )
    expression: OptionalText = Field(None, description="Metric math instead of namespace and metric.")
    over: OptionalSeconds = Field(None, description="How far back; the plan's window if not said.")
    empty_is_zero: Flag = Field(
        default=False, description="For metrics that are published only when something happens, such as throttles."
    )


class Check(Section):
    """One line of the checklist."""

    name: Name = Field(description="Unique; what status and override call it.")
    source: Annotated[Literal["legacy", "target"] | None, _optional(choice("target", "legacy"))] = Field(
        None, description="Whose requests; the target's if not said."
    )
    operation: OptionalName = Field(None, description="Only this operation's requests.")
    quantile: Annotated[float | None, _optional(number(0, 0.9999, above=True))] = Field(
        None, description="With `below`: so many of the attempts are faster."
    )
    below: OptionalBound = Field(None, description="The value must be below it.")
    above: OptionalBound = Field(None, description="The value must be above it.")
    error_ratio_below: OptionalRatio = Field(None, description="Failed first attempts.")
    user_error_ratio_below: OptionalRatio = Field(None, description="5xx and broken-off answers, as users saw them.")
    fallback_ratio_below: OptionalRatio = Field(None, description="What legacy had to answer for the target.")
    cache_hit_ratio_above: OptionalRatio = Field(None, description="What a cache in front of the source answered.")
    promql: OptionalText = Field(None, description="A PromQL expression of one value.")
    cloudwatch: Metric | None = Field(None, description="A CloudWatch metric.")
    manual: Flag = Field(default=False, description="A number that people enter with `cutover rollout note`.")
    required: Flag = Field(default=True, description="Whether the rollout waits when there is no answer.")
    hard_limit: OptionalBound = Field(None, description="Beyond this it is NO_GO at once.")
    baseline: OptionalSeconds = Field(None, description="What it was before the migration, to be told beside it.")
    compare: Annotated[str | None, _optional(choice("legacy"))] = Field(
        None, description="Hold while legacy is surely better within the same window."
    )

    @property
    def kind(self) -> CheckKind:
        """What it looks at; `plan_rules` refuses a check that says none or two."""
        return self.kinds[0] if self.kinds else CheckKind.MANUAL

    @property
    def kinds(self) -> tuple[CheckKind, ...]:
        """Everything it says to look at."""
        said = {
            CheckKind.QUANTILE: self.quantile,
            CheckKind.ERROR_RATIO: self.error_ratio_below,
            CheckKind.USER_ERROR_RATIO: self.user_error_ratio_below,
            CheckKind.FALLBACK_RATIO: self.fallback_ratio_below,
            CheckKind.CACHE_HIT_RATIO: self.cache_hit_ratio_above,
            CheckKind.PROMQL: self.promql,
            CheckKind.CLOUDWATCH: self.cloudwatch,
            CheckKind.MANUAL: self.manual or None,
        }
        return tuple(kind for kind, value in said.items() if value is not None)

    @property
    def bound(self) -> float:
        """What the value is held against, in its own unit."""
        own = (self.error_ratio_below, self.user_error_ratio_below, self.fallback_ratio_below)
        every = (*own, self.cache_hit_ratio_above, self.below, self.above)
        return next((float(bound) for bound in every if bound is not None), 0.0)

    @property
    def is_rising(self) -> bool:
        """Whether the value must be above its bound, and not below it."""
        return self.above is not None or self.cache_hit_ratio_above is not None

    @property
    def failing_share(self) -> float:
        """For a check that counts requests: the share of them that may be on the wrong side."""
        if self.quantile is not None:
            return 1.0 - self.quantile
        return 1.0 - self.bound if self.cache_hit_ratio_above is not None else self.bound


class Hook(Section):
    """A webhook that is told of every transition."""

    url: Url = Field(description="Where it is posted.")
    secret: OptionalSecret = Field(None, description="Signs the body: X-Cutover-Signature, HMAC-SHA256.")
    format: Annotated[str, choice("json", "slack")] = Field("json", description="What is posted.")
    timeout: Duration = Field(5.0, description="For one attempt.")
    retries: Annotated[int, whole_number(0, 10)] = Field(3, description="After the first attempt.")


class Plan(Section):
    """The whole plan."""

    stages: tuple[Stage, ...] = Field(description="The steps, their percentages rising.")
    interval: Duration = Field(30.0, description="One tick.")
    settle: DurationOrZero = Field(120.0, description="After a step: not judged yet.")
    window: Duration = Field(600.0, description="What a verdict looks at, within the stage.")
    confidence: Annotated[float, number(0.5, 0.9999)] = Field(0.95, description="Of every verdict, one-sided.")
    failures_before_no_go: Count = Field(2, description="Consecutive failures of a check.")
    on_no_go: Annotated[str, choice("zero", "previous")] = Field("zero", description="Where a NO_GO goes back to.")
    promotion: Annotated[str, choice("auto", "manual")] = Field("auto", description="Whether GO is enough.")
    owner: Owner = Field(default=Owner(), description="Who answers for it.")
    observe: Observe = Field(description="Where figures come from.")
    apply: Apply = Field(description="Where the percentage is put.")
    journal: Annotated[str, _PATH] = Field("rollout.db", description="What happened, from the working directory.")
    checks: tuple[Check, ...] = Field(description="The checklist.")
    hooks: tuple[Hook, ...] = Field(default=(), description="Who is told.")

    def needs_approval(self, stage: int) -> bool:
        """Whether a person must promote after the stage of this number (from 1)."""
        is_last = stage == len(self.stages)
        return self.stages[stage - 1].approval or (self.promotion == "manual" and not is_last)


__all__ = ["Apply", "Check", "CheckKind", "Hook", "Metric", "Observe", "Owner", "Plan", "Seconds", "Secret", "Stage"]
