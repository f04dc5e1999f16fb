"""The manifests: valid, consistent with each other and with the configuration in them, and no wider than needed."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.cli.main import main
from proxy.rollout.plan_file import load_plan
from proxy.settings.load import LoadedSettings, load_settings

KUBERNETES = Path(__file__).parents[2] / "deploy/kubernetes"
TOOLS = Path(sys.executable).parent
OVERLAYS = ("staging", "production")
GRACE_FOR_THE_GALLERY_S = 20  # what gallery.yaml reckons with
SECRET = "a-secret-of-32-characters-or-so"


def tool(name: str) -> str:
    found = shutil.which(name, path=str(TOOLS)) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: it is in the extra dev")
    return found


@pytest.fixture(scope="module", params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def rendered(overlay: str) -> str:
    command = [tool("kubectl"), "kustomize", str(KUBERNETES / "overlays" / overlay)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.fixture(scope="module")
def resources(rendered: str) -> dict[tuple[str, str], dict[str, Any]]:
    found = {}
    for one in yaml.safe_load_all(rendered):
        key = one["kind"], one["metadata"]["name"]
        assert key not in found
        found[key] = one
    return found


@pytest.fixture
def loaded(resources: dict[tuple[str, str], Any], tmp_path: Path) -> LoadedSettings:
    """The sidecar's configuration, in a directory as its volume makes it."""
    pod = resources["Deployment", "gallery"]["spec"]["template"]["spec"]
    directory = tmp_path / "cutover"
    state = yaml.safe_load((KUBERNETES / "state/cutover-rollout.yaml").read_text())["data"]
    maps = {"cutover-config": resources["ConfigMap", "cutover-config"]["data"], "cutover-rollout": state}
    for source in volume(pod, "cutover")["projected"]["sources"]:
        data = maps[source["configMap"]["name"]] if "configMap" in source else None
        items = next(iter(source.values())).get("items") or [{"key": name, "path": name} for name in data]
        for item in items:
            place = directory / item["path"]
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(SECRET if data is None else data[item["key"]])
    env = {one["name"]: one["value"] for one in sidecar(pod)["env"]}
    return load_settings(directory / "cutover.yaml", env)


def volume(pod: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in pod["volumes"] if one["name"] == name)


def sidecar(pod: dict[str, Any]) -> dict[str, Any]:
    return next(one for one in pod["initContainers"] if one["name"] == "cutover")


def pods(resources: dict[tuple[str, str], Any]) -> list[dict[str, Any]]:
    return [one["spec"]["template"]["spec"] for (kind, _), one in resources.items() if kind in ("Deployment", "Job")]


def test_every_resource_is_valid_strictly(rendered: str, tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    # The schema of a PodMonitor is not Kubernetes' own: see below.
    kept = [one for one in yaml.safe_load_all(rendered) if one["kind"] != "PodMonitor"]
    file.write_text(
        yaml.safe_dump_all([*kept, yaml.safe_load((KUBERNETES / "state/cutover-rollout.yaml").read_text())])
    )
    command = [tool("kubernetes-validate"), "--strict", str(file)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    said = run.stdout + run.stderr
    assert run.returncode == 0, said
    assert said.count("passed for resource") == len(kept) + 1, said
    assert "WARN" not in said, said


def test_the_pod_monitor_asks_the_port_that_the_sidecar_names(resources: dict[tuple[str, str], Any]) -> None:
    monitor = resources["PodMonitor", "cutover"]
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert set(monitor["spec"]) <= {"selector", "podMetricsEndpoints", "jobLabel", "namespaceSelector"}
    template = resources["Deployment", "gallery"]["spec"]["template"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    ports = {port["name"]: port["containerPort"] for port in sidecar(template["spec"])["ports"]}
    for endpoint in monitor["spec"]["podMetricsEndpoints"]:
        assert set(endpoint) <= {"port", "path", "interval", "scrapeTimeout"}
        assert ports[endpoint["port"]] == 9900
        assert endpoint["path"] == "/metrics"


def test_the_configuration_is_valid_and_moves_nobody_before_a_rollout(loaded: LoadedSettings) -> None:
    settings = loaded.settings
    assert (settings.rollout.percentage, settings.rollout.enabled) == (0, False)
    assert settings.admin.token is not None
    keys = {warning.key for warning in loaded.warnings}
    assert keys <= {"target.headers.set.Authorization", "target.headers.set"}, loaded.warnings


def test_the_configuration_agrees_with_ports_and_mounts(
    loaded: LoadedSettings, resources: dict[tuple[str, str], Any]
) -> None:
    pod = resources["Deployment", "gallery"]["spec"]["template"]["spec"]
    container, settings = sidecar(pod), loaded.settings
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert (settings.listen.port, settings.admin.listen.port) == (ports["http"], ports["admin"])
    assert settings.admin.listen.host == "0.0.0.0"
    assert container["args"][-1] == f"{container['volumeMounts'][0]['mountPath']}/cutover.yaml"
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container)
    assert settings.legacy.url.port == pod["containers"][0]["readinessProbe"]["tcpSocket"]["port"]
    limit = container["resources"]["limits"]["memory"]
    assert settings.limits.buffered_bytes < int(limit.removesuffix("Mi")) * 2**20 / 2


def test_changes_of_what_is_mounted_arrive(resources: dict[tuple[str, str], Any], rendered: str) -> None:
    assert "subPath" not in rendered
    for pod in pods(resources):
        for source in pod["volumes"]:
            name = source.get("configMap", {}).get("name")
            assert name is None or not re.search(r"-[a-z0-9]{10}$", name), "a name that changes starts pods anew"


def test_the_order_of_the_end_fits_into_the_grace_period(
    loaded: LoadedSettings, resources: dict[tuple[str, str], Any]
) -> None:
    pod = resources["Deployment", "gallery"]["spec"]["template"]["spec"]
    assert sidecar(pod)["restartPolicy"] == "Always", "a native sidecar ends after the gallery"
    sleep_s = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    limits = loaded.settings.limits
    assert pod["terminationGracePeriodSeconds"] > (
        sleep_s + GRACE_FOR_THE_GALLERY_S + limits.drain_delay + limits.drain_timeout
    )
    assert limits.keepalive_timeout < sleep_s, "idle connections are gone before the gallery is"


def test_no_container_has_a_right_that_it_does_not_need(resources: dict[tuple[str, str], Any]) -> None:
    for pod in pods(resources):
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"]
            assert not context["allowPrivilegeEscalation"]
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert {"cpu", "memory"} == set(container["resources"]["requests"])
            assert "memory" in container["resources"]["limits"]
    assert not resources["Deployment", "gallery"]["spec"]["template"]["spec"]["automountServiceAccountToken"]


def test_the_controller_may_change_one_configmap_and_nothing_else(resources: dict[tuple[str, str], Any]) -> None:
    assert resources["Role", "cutover-rollout"]["rules"] == [
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": ["cutover-rollout"],
            "verbs": ["get", "patch"],
        }
    ]
    assert not any(kind.startswith("Cluster") for kind, _ in resources)
    binding = resources["RoleBinding", "cutover-rollout"]
    assert binding["roleRef"]["name"] == "cutover-rollout"
    assert [one["name"] for one in binding["subjects"]] == ["cutover-rollout"]
    assert ("ConfigMap", "cutover-rollout") not in resources, "applying the overlay again must not put it back"
    controller = resources["Deployment", "cutover-rollout"]["spec"]
    assert (controller["replicas"], controller["strategy"]) == (1, {"type": "Recreate"})
    pod = controller["template"]["spec"]
    assert [item["key"] for item in volume(pod, "secrets")["secret"]["items"]] == ["admin-token"]
    arguments = pod["containers"][0]["args"]
    assert "--once" in arguments, "what was rolled back must not begin again when the pod is started again"


def test_the_plan_is_valid_and_agrees_with_the_rest(
    loaded: LoadedSettings,
    resources: dict[tuple[str, str], Any],
    overlay: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, text in {
        "cutover-plan/plan.yaml": resources["ConfigMap", "cutover-plan"]["data"]["plan.yaml"],
        "cutover-secrets/admin-token": SECRET,
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    file = tmp_path / "cutover-plan/plan.yaml"
    assert main(["rollout", "plan", str(file)]) == 0
    assert "the ConfigMap cutover-rollout" in capsys.readouterr().out
    found = load_plan(file, {})
    assert {warning.key for warning in found.warnings} == {"owner.approver", "owner.on_call"}, found.warnings
    plan = found.plan
    assert plan.apply.token == SECRET
    place = plan.apply.configmap
    role = resources["Role", "cutover-rollout"]["rules"][0]
    assert [place.name] == role["resourceNames"]
    service = resources["Service", place.sidecars.host]["spec"]
    assert service["clusterIP"] == "None"
    assert service["ports"][0]["port"] == place.sidecars.port == loaded.settings.admin.listen.port, "DNS maps no ports"
    pod = resources["Deployment", "cutover-rollout"]["spec"]["template"]["spec"]["containers"][0]
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["volumeMounts"]}
    assert plan.journal.startswith(f"{mounts['journal']}/")
    namespace = resources["Deployment", "gallery"]["metadata"]["namespace"]
    assert f'namespace="{namespace}"' in plan.observe.selector
    assert [stage.percentage for stage in plan.stages] == [10, 50, 100]
    operations = {operation.name for operation in loaded.settings.operations}
    assert {check.operation for check in plan.checks if check.operation} <= operations


def test_the_network_policies_let_in_who_must_ask(resources: dict[tuple[str, str], Any]) -> None:
    rules = resources["NetworkPolicy", "gallery"]["spec"]["ingress"]
    assert {port["port"] for rule in rules for port in rule["ports"]} == {"http", "admin"}, "not the gallery itself"
    admin = next(rule for rule in rules if rule["ports"][0]["port"] == "admin")
    labels = resources["Deployment", "cutover-rollout"]["spec"]["template"]["metadata"]["labels"]
    assert {"podSelector": {"matchLabels": labels}} in admin["from"]
