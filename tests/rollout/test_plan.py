"""Plan files: what is read, what is refused and where, and what is said about it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.rollout.plan import CheckKind, Plan, Seconds
from proxy.rollout.plan_file import LoadedPlan, load_plan
from proxy.rollout.plan_words import plan_as_json, plan_in_words
from proxy.settings.errors import ConfigError

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = """\
stages:
  - {percentage: 10, hold: 4h}
  - {percentage: 50, hold: 4h, approval: true}   # waits for promote after GO
  - {percentage: 100, hold: 24h}
interval: 30s                 # one tick
settle: 2m                    # after a step, not judged
window: 10m                   # what a verdict looks at, within the stage
confidence: 0.95
failures_before_no_go: 2
on_no_go: zero                # zero | previous
promotion: auto               # auto | manual
owner: {approver: null, on_call: null}           # start HOLDs while null, unless --no-owner
observe: {sidecars: ["http://127.0.0.1:9900"]}   # or {prometheus: "http://…"}, and {cloudwatch: {region: …}}
apply: {file: config/cutover.yaml}               # or {sidecars: ["http://…"], token: …}: override on every one
journal: rollout.db
checks:
  - {name: get p95, source: target, operation: get, quantile: 0.95, below: 50ms}
  - {name: target errors, source: target, error_ratio_below: 0.001}          # a confirmed 404 is no error
  - {name: user errors, user_error_ratio_below: 0.001}                       # 5xx as answered
  - {name: fallbacks, fallback_ratio_below: 0.01}
  - {name: CDN hits, source: target, cache_hit_ratio_above: 0.85}
  - {name: throttles, promql: "sum(increase(aws_dynamodb_throttled_requests_sum[10m]))", below: 1, required: false}
  - {name: complaints, manual: true, below: 1}
"""


@pytest.fixture(autouse=True)
def at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def load(tmp_path: Path, text: str, env: dict[str, str] | None = None) -> LoadedPlan:
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    return load_plan(path, env or {})


def problems(tmp_path: Path, text: str) -> list[tuple[int | None, str, str]]:
    with pytest.raises(ConfigError) as refused:
        load(tmp_path, text)
    return [
        (one.line, one.key, f"{one.problem}; {one.hint}" if one.hint else one.problem) for one in refused.value.problems
    ]


def test_the_contracts_example_loads_as_it_is(tmp_path: Path) -> None:
    plan = load(tmp_path, EXAMPLE).plan
    assert [(stage.percentage, stage.hold, stage.approval) for stage in plan.stages] == [
        (10, 14400.0, False),
        (50, 14400.0, True),
        (100, 86400.0, False),
    ]
    assert (plan.interval, plan.settle, plan.window, plan.confidence) == (30.0, 120.0, 600.0, 0.95)
    assert [check.kind for check in plan.checks] == [
        CheckKind.QUANTILE,
        CheckKind.ERROR_RATIO,
        CheckKind.USER_ERROR_RATIO,
        CheckKind.FALLBACK_RATIO,
        CheckKind.CACHE_HIT_RATIO,
        CheckKind.PROMQL,
        CheckKind.MANUAL,
    ]
    assert [check.bound for check in plan.checks] == [0.05, 0.001, 0.001, 0.01, 0.85, 1.0, 1.0]
    assert isinstance(plan.checks[0].below, Seconds)


def test_it_warns_of_what_will_hold(tmp_path: Path) -> None:
    warnings = [str(warning) for warning in load(tmp_path, EXAMPLE).warnings]
    assert [warning for warning in warnings if "observe.prometheus" in warning and "left out" in warning]
    assert [warning for warning in warnings if "owner.on_call" in warning]
    required = EXAMPLE.replace(", required: false", "")
    assert [warning for warning in map(str, load(tmp_path, required).warnings) if "will HOLD" in warning]


@pytest.mark.parametrize("name", ["staging", "production"])
def test_the_shipped_plans_hold_the_epics_checklist(name: str) -> None:
    plan = load_plan(ROOT / f"config/rollout/{name}.yaml", {}).plan
    assert [stage.percentage for stage in plan.stages] == [10, 50, 100]
    bounds = {check.name: check.bound for check in plan.checks}
    assert bounds == {
        "get p95": 0.05,
        "list p95": 0.1,
        "upload p95": 1.0,
        "update p95": 0.08,
        "delete p95": 0.1,
        "target errors": 0.001,
        "user errors": 0.001,
        "fallbacks": 0.01,
        "upload success": 0.001,
        "CDN hits": 0.85,
        "DynamoDB throttles": 1,
        "Lambda errors": 5,
        "complaints": 1,
    }
    holds = {"staging": [7200.0] * 3, "production": [14400.0, 14400.0, 86400.0]}
    assert [stage.hold for stage in plan.stages] == holds[name]


def changed(**changes: Any) -> str:
    return yaml.safe_dump({**yaml.safe_load(EXAMPLE), **changes}, sort_keys=False)


def only_check(**check: Any) -> str:
    return changed(checks=[{"name": "one", **check}])


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "words"),
    [
        ("percentage: 50", "percentage: 10", 3, "stages[1].percentage", "above the stage before it (10)"),
        ("percentage: 100", "percentage: 101", 4, "stages[2].percentage", "from 1 to 100"),
        ("percentage: 10,", "percentage: 1.5,", 2, "stages[0].percentage", "whole number"),
        ("hold: 24h", "hold: 24", 4, "stages[2].hold", "write 24s"),
        ("window: 10m", "window: 5h", 7, "window", "shortest hold (4h)"),
        ("window: 10m", "window: 1s", 7, "window", "shorter than the interval (30s)"),
        ("hold: 4h}", "hold: 2m}", 2, "stages[0].hold", "settle and one interval together (2m30s)"),
        ("operation: get", "operation: gte", 17, "checks[0].operation", 'did you mean "get"?'),
        ("below: 50ms", "below: 60ms", 17, "checks[0].below", "nearest are 50ms and 80ms"),
        ("below: 50ms", "below: 90s", 17, "checks[0].below", "nearest are 1m"),
        ("below: 50ms", "below: 0.05", 17, "checks[0].below", "expected a duration"),
        ("quantile: 0.95", "quantile: 95", 17, "checks[0].quantile", "above 0 and up to 0.9999"),
        (
            "error_ratio_below: 0.001}  ",
            "error_ratio_belo: 0.001}  ",
            18,
            "checks[1].error_ratio_belo",
            "error_ratio_below",
        ),
        ("interval: 30s", "intervall: 30s", 5, "intervall", 'did you mean "interval"?'),
        ("promotion: auto", "promotion: automatic", 11, "promotion", "auto or manual"),
        ("name: complaints", "name: get p95", 23, "checks[6].name", "taken by checks[0]"),
        ("manual: true, below: 1", "manual: true, below: 1s", 23, "checks[6].below", "plain number"),
        ("manual: true, below: 1", "manual: true", 23, "checks[6].manual", "needs `below` or `above`"),
        ("on_no_go: zero", "on_no_go: zero\non_no_go: zero", 11, "on_no_go", "duplicate key"),
    ],
)
def test_an_error_names_its_line_and_key(tmp_path: Path, old: str, new: str, line: int, key: str, words: str) -> None:
    found = problems(tmp_path, EXAMPLE.replace(old, new, 1))
    assert any(one[0] == line and one[1] == key and words in one[2] for one in found), found


@pytest.mark.parametrize(
    ("check", "key", "words"),
    [
        ({}, "checks[0]", "says not what to look at"),
        ({"promql": "up", "manual": True, "below": 1}, "checks[0].manual", "one thing"),
        ({"error_ratio_below": 0.1, "fallback_ratio_below": 0.1}, "checks[0]", "one thing"),
        ({"quantile": 0.9}, "checks[0].quantile", "needs `below`"),
        ({"error_ratio_below": 0.1, "below": 1}, "checks[0].below", "has its bound already"),
        ({"error_ratio_below": 0}, "checks[0].error_ratio_below", "above 0"),
        ({"promql": "up", "below": 1, "source": "target"}, "checks[0].source", "no meaning for promql"),
        ({"fallback_ratio_below": 0.1, "source": "target"}, "checks[0].source", "leave it out"),
        ({"user_error_ratio_below": 0.1, "compare": "legacy"}, "checks[0].compare", "quantiles and error ratios"),
        ({"error_ratio_below": 0.1, "baseline": "1s"}, "checks[0].baseline", "for quantiles"),
        ({"error_ratio_below": 0.1, "hard_limit": 0.05}, "checks[0].hard_limit", "beyond"),
        ({"cache_hit_ratio_above": 0.8, "hard_limit": 0.9}, "checks[0].hard_limit", "below it"),
        ({"cloudwatch": {"namespace": "AWS/Lambda"}, "below": 1}, "checks[0].cloudwatch", "namespace and metric"),
        ({"promql": "up", "above": 1, "hard_limit": 2}, "checks[0].hard_limit", "below it"),
    ],
)
def test_a_check_that_makes_no_sense_is_refused(tmp_path: Path, check: dict[str, Any], key: str, words: str) -> None:
    found = problems(tmp_path, only_check(**check))
    assert any(one[1] == key and words in one[2] for one in found), found


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"observe": {}}, "one of the two"),
        ({"observe": {"sidecars": ["http://a:1"], "prometheus": "http://b:1"}}, "one of the two"),
        ({"observe": {"sidecars": ["http://a:1", "http://a:1"]}}, "twice"),
        ({"observe": {"sidecars": ["http://a:1"], "selector": "x"}}, "is for prometheus"),
        ({"apply": {}}, "one of them"),
        ({"apply": {"file": "a", "configmap": {"name": "a", "sidecars": "http://b:1"}}}, "one of them"),
        ({"apply": {"configmap": {"name": "a", "sidecars": "https://b:1"}}}, "headless Service"),
        ({"apply": {"sidecars": ["http://a:1", "http://a:1"]}}, "twice"),
        ({"stages": []}, "at least one stage"),
        ({"checks": []}, "at least one check"),
        ({"stages": "none"}, "expected a list"),
        ({"owner": ["me"]}, "expected a mapping"),
        ({"observe": {"sidecars": ["ftp://user:secret@a"]}}, "scheme"),
    ],
)
def test_sections_that_make_no_sense_are_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    found = problems(tmp_path, changed(**changes))
    assert any(words in one[2] for one in found), found
    assert not any("secret" in one[2] for one in found)


def test_files_that_are_no_plans(tmp_path: Path) -> None:
    for data, words in (
        (b"", "empty"),
        (b"a: [", "not valid YAML"),
        (b"\xff", "UTF-8"),
        (b" " * (1 << 20) + b"aa", "1 MiB"),
    ):
        path = tmp_path / "plan.yaml"
        path.write_bytes(data)
        with pytest.raises(ConfigError, match=words):
            load_plan(path, {})
    with pytest.raises(ConfigError, match="no such file"):
        load_plan(tmp_path / "nothing", {})
    with pytest.raises(ConfigError, match="directory"):
        load_plan(tmp_path, {})


def test_values_may_come_from_the_environment_and_secrets_are_not_shown(tmp_path: Path) -> None:
    text = changed(apply={"sidecars": ["http://a:1"], "token": "${env:TOKEN}"}, confidence="${env:SURE}")
    loaded = load(tmp_path, text, {"TOKEN": "very-secret", "SURE": "0.99"})
    assert loaded.plan.confidence == 0.99
    assert loaded.plan.apply.token == "very-secret"
    assert "very-secret" not in repr(loaded) + str(plan_as_json(loaded)) + "".join(plan_in_words(loaded.plan))


def test_a_configuration_that_cannot_be_read_is_a_warning(tmp_path: Path) -> None:
    loaded = load(tmp_path, changed(apply={"file": str(tmp_path / "missing.yaml")}))
    assert any("not checked" in str(warning) for warning in loaded.warnings)


def test_a_plan_is_explained_with_times_and_sample_sizes(tmp_path: Path) -> None:
    plan: Plan = load(tmp_path, EXAMPLE).plan
    words = "\n".join(plan_in_words(plan))
    for piece in (
        "3 stages, 32h when everything is GO at once",
        "2. at     4h   50 %  for 4h (judged after 2m), then 100 %, after `cutover rollout promote`",
        "95 % of target's answers of get take at most 50ms",
        "needs 59 requests",
        "needs 2995 requests",
        "Approved by nobody yet",
        "fails 2 times in a row",
    ):
        assert piece in words, words


def test_a_plan_for_machines(tmp_path: Path) -> None:
    shown: Any = plan_as_json(load(tmp_path, EXAMPLE))
    assert [stage["starts_s"] for stage in shown["stages"]] == [0, 14400, 28800]
    assert shown["total_s"] == 32 * 3600
    assert [check["needed"] for check in shown["checks"]] == [59, 2995, 2995, 299, 19, None, None]


def test_a_journal_may_lie_deep_in_the_file_system(tmp_path: Path) -> None:
    path = f"/var/lib/{'deep/' * 40}rollout.db"
    text = (ROOT / "config/rollout/staging.yaml").read_text() + "\n"
    tree = yaml.safe_load(text) | {"journal": path}
    assert load(tmp_path, yaml.safe_dump(tree)).plan.journal == path
