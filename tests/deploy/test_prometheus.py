"""The rules under deploy/prometheus: valid, tested both ways, about metrics that exist, and each with its section."""

import re
import shutil
import subprocess
from pathlib import Path

import promql_parser
import pytest
import yaml

from proxy.telemetry import exposition
from proxy.telemetry.histogram import BOUNDS
from tests.deploy.monitored import cloudwatch_names

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus"
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not there (Debian: apt-get install prometheus)"
)


def rules(name: str) -> list[dict]:
    groups = yaml.safe_load((RULES / name).read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules("alerts.yml")}
RECORDED = {rule["record"]: rule["expr"] for rule in rules("recording.yml")}
TESTS = yaml.safe_load((RULES / "alerts_test.yml").read_text())["tests"]
CONDITIONS = {  # of the epic, and of those who are on call
    "BothSourcesFailing", "BreakerRejecting", "CdnHitRatioLow", "ConfigRejected", "Down", "Fallbacks",
    "PercentagesDiffer", "RevisionsDiffer", "TargetErrors", "TargetReadsSlow", "TargetUploadsSlow", "UserErrors",
}  # fmt: skip


def promtool(*arguments: str) -> None:
    done = subprocess.run(["promtool", *arguments], cwd=RULES, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_the_configuration_and_its_rules_are_valid():
    promtool("check", "config", "prometheus.yml")
    promtool("check", "rules", "recording.yml", "alerts.yml")


@needs_promtool
def test_alerts_fire_when_they_should_and_not_when_they_should_not():
    promtool("test", "rules", "alerts_test.yml")


def test_every_condition_has_an_alert():
    assert {f"Cutover{name}" for name in CONDITIONS} | {
        "CloudFront5xx",
        "DynamoDBThrottled",
        "LambdaErrorRatio",
        "LambdaErrors",
    } == set(ALERTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_is_tested_both_ways(alert: str):
    fired = [
        bool(one.get("exp_alerts")) for test in TESTS for one in test["alert_rule_test"] if one["alertname"] == alert
    ]
    assert True in fired, "when it fires"
    assert False in fired, "when it does not"


@pytest.mark.parametrize("rule", ALERTS.values(), ids=ALERTS)
def test_an_alert_says_what_it_is_how_bad_and_what_to_do(rule: dict):
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert re.fullmatch(r"\d+[sm]", rule["for"])
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["description"]
    assert rule["annotations"]["runbook_url"].endswith(f"/deploy/runbook.md#{rule['alert'].lower()}")


def test_every_alert_has_its_section_in_the_runbook_and_no_section_is_left_over():
    text = (DEPLOY / "runbook.md").read_text()
    sections = dict(re.findall(r"^## (\w+)\n\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    assert set(sections) == set(ALERTS)
    for name, section in sections.items():
        for part in ("Means", "Users see", "First look", "Do", "Roll back"):
            assert f"- **{part}** " in section, f"{name}: {part}"
    anchors = {
        re.sub(r"[^\w-]", "", line.lower().replace(" ", "-")) for line in re.findall(r"^## (.*)$", text, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([\w-]+)\)", text)) <= anchors


def test_rules_are_about_metrics_and_bounds_that_exist():
    families = {family.name for family in vars(exposition).values() if isinstance(family, exposition.Family)}
    durations = {exposition.REQUEST_DURATION.name, exposition.ATTEMPT_DURATION.name}
    known = families | {f"{name}{end}" for name in durations for end in ("_bucket", "_sum", "_count")} | set(RECORDED)
    bounds = {str(bound) for bound in BOUNDS}
    for expression in [*RECORDED.values(), *(rule["expr"] for rule in ALERTS.values())]:
        promql_parser.parse(expression)
        used = set(re.findall(r"\b(cutover[_:][\w:]+|aws_\w+)", expression))
        assert used <= known | {name for name in used if name.startswith("aws_")}, expression
        assert set(re.findall(r'\ble="([^"]+)"', expression)) <= bounds


def test_what_is_used_of_cloudwatch_is_fetched():
    text = (RULES / "recording.yml").read_text() + (RULES / "alerts.yml").read_text()
    assert set(re.findall(r"\baws_\w+", text)) <= cloudwatch_names()
