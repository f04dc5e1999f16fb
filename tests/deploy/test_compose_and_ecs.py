"""Compose and ECS: valid by their own schemas, and every configuration and plan in them by cutover's."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.rollout.plan_file import load_plan
from proxy.settings.load import LoadedSettings, load_settings

DEPLOY = Path(__file__).parents[2] / "deploy"
ENV = {
    "IMAGE_SERVICE_URL": "https://images.example.com",
    "IMAGE_SERVICE_TOKEN": "a-secret",
    "CUTOVER_ADMIN_TOKEN": "a-secret",
}
COMPOSE = yaml.safe_load((DEPLOY / "compose/compose.yaml").read_text())["services"]
TASKS = {name: json.loads((DEPLOY / f"ecs/{name}-task.json").read_text()) for name in ("gallery", "rollout")}


def mounted(platform: str, directory: Path) -> Path:
    """The files of a platform, with what they refer to by an absolute path beside them."""
    (directory / "image-service-token").write_text("a-secret\n")
    for file in (DEPLOY / platform / "config").iterdir():
        text = file.read_text().replace("/run/secrets/", f"{directory}/").replace("/etc/cutover/", f"{directory}/")
        (directory / file.name).write_text(text)
    return directory


@pytest.fixture(params=["compose", "ecs"])
def platform(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def loaded(platform: str, tmp_path: Path) -> LoadedSettings:
    return load_settings(mounted(platform, tmp_path) / "cutover.yaml", ENV)


def test_the_configuration_is_valid_and_moves_nobody(loaded: LoadedSettings) -> None:
    rollout = loaded.settings.rollout
    assert (rollout.percentage, rollout.enabled) == (0, False)
    admin = loaded.settings.admin
    assert admin.token or admin.listen.is_local


def test_the_plan_is_valid_and_knows_the_configurations_operations(platform: str, tmp_path: Path) -> None:
    found = load_plan(mounted(platform, tmp_path) / "plan.yaml", ENV)
    assert {warning.key for warning in found.warnings} == {"owner.approver", "owner.on_call"}, found.warnings
    assert found.plan.apply.file == str(tmp_path / "cutover.yaml")


def test_compose_is_valid_by_its_schema() -> None:
    check = Path(sys.executable).parent / "check-jsonschema"
    command = [str(check), "--builtin-schema", "vendor.compose-spec", str(DEPLOY / "compose/compose.yaml")]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_file_that_compose_mounts_is_there() -> None:
    for service in COMPOSE.values():
        for mount in service.get("volumes", []):
            source = mount.partition(":")[0]
            if source.startswith("."):
                assert (DEPLOY / "compose" / source).exists(), mount


def test_prometheus_and_grafana_find_each_other_in_one_network_namespace() -> None:
    shared = [name for name, service in COMPOSE.items() if service.get("network_mode") == "service:cutover"]
    assert {"prometheus", "grafana", "rollout"} <= set(shared)
    scraped = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())["scrape_configs"][0]
    config = yaml.safe_load((DEPLOY / "compose/config/cutover.yaml").read_text())
    assert scraped["static_configs"][0]["targets"] == [config["admin"]["listen"]]
    source = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"][0]
    assert source["url"] == "http://127.0.0.1:9090"
    provider = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/cutover.yml").read_text())["providers"][0]
    assert f"../grafana/dashboards:{provider['options']['path']}:ro" in COMPOSE["grafana"]["volumes"]
    published = {port.rpartition(":")[2] for port in COMPOSE["cutover"]["ports"]}
    assert published == {"8080", "9090", COMPOSE["grafana"]["environment"]["GF_SERVER_HTTP_PORT"]}


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_task_definition_is_what_the_api_takes(task: dict[str, Any]) -> None:
    session = pytest.importorskip("botocore.session", reason="needs botocore: the extra demo")
    validate = pytest.importorskip("botocore.validate")
    model = session.Session().get_service_model("ecs").operation_model("RegisterTaskDefinition")
    report = validate.ParamValidator().validate(task, model.input_shape)
    assert not report.has_errors(), report.generate_report()
    known = {volume["name"] for volume in task["volumes"]}
    for container in task["containerDefinitions"]:
        assert {mount["sourceVolume"] for mount in container.get("mountPoints", [])} <= known


def test_the_sidecar_is_stopped_before_the_gallery_and_has_time_to_drain(tmp_path: Path) -> None:
    gallery, cutover = TASKS["gallery"]["containerDefinitions"]
    assert cutover["dependsOn"] == [{"containerName": gallery["name"], "condition": "START"}]
    limits = load_settings(mounted("ecs", tmp_path) / "cutover.yaml", ENV).settings.limits
    assert cutover["stopTimeout"] > limits.drain_delay + limits.drain_timeout
    grace_s = int(COMPOSE["cutover"]["stop_grace_period"].removesuffix("s"))
    compose = load_settings(mounted("compose", tmp_path) / "cutover.yaml", ENV).settings.limits
    assert grace_s > compose.drain_delay + compose.drain_timeout
    assert COMPOSE["cutover"]["depends_on"] == ["gallery"]


def test_no_container_of_cutover_has_a_right_that_it_does_not_need() -> None:
    for service in (COMPOSE["cutover"], COMPOSE["rollout"]):
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    for container in (TASKS["gallery"]["containerDefinitions"][1], TASKS["rollout"]["containerDefinitions"][0]):
        assert container["readonlyRootFilesystem"]
        assert container["linuxParameters"] == {"capabilities": {"drop": ["ALL"]}}
        assert container["user"] == "65532:65532"
    for command in (COMPOSE["rollout"]["command"], TASKS["rollout"]["containerDefinitions"][0]["command"]):
        assert "--once" in command
