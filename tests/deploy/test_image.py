"""The image, built and run for real. `make image-test`; what it measures is written to build/image/measured.json."""

import gzip
import json
import os
import socket
import statistics
import tarfile
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.deploy import image
from tests.deploy.image import Container, done, facts_of, running, until

REASON = image.why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))

LARGEST_BYTES = 150_000_000
CONFIG = """\
listen: 127.0.0.1:{port}
admin: {{listen: "127.0.0.1:{admin}"}}
legacy: {{name: postgresql, url: "http://127.0.0.1:{legacy}"}}
target: {{name: image_service, url: "http://127.0.0.1:{target}"}}
rollout: {{enabled: "${{file:rollout/enabled}}", percentage: "${{file:rollout/percentage}}"}}
limits: {{drain_timeout: 2s}}
"""


@pytest.fixture(scope="module")
def base() -> str:
    try:
        name = image.base_image()
    except (AssertionError, image.subprocess.TimeoutExpired) as error:
        pytest.skip(f"no base image, neither from a registry nor made by mmdebstrap: {str(error)[-300:]}")
    reason = image.why_it_cannot_run(name)
    if reason is not None:
        pytest.skip(reason)
    return name


@pytest.fixture(scope="module")
def built(base: str) -> str:
    return image.build(base, "test")


@pytest.fixture(scope="module")
def measured() -> Iterator[dict[str, object]]:
    found: dict[str, object] = {}
    yield found
    place = image.ROOT / "build/image/measured.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(found, indent=2) + "\n")
    print(f"\n{json.dumps(found, indent=2)}")


@pytest.fixture
def source() -> Iterator[tuple[int, list[str]]]:
    """A backend for both; the sources that its requests were meant for."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers["X-Cutover-Source"])
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1], seen
    server.shutdown()
    thread.join()
    server.server_close()


class Mount:
    """A directory as the kubelet makes it of a projected volume: a link to the current version, replaced as a whole."""

    def __init__(self, directory: Path, backend: int) -> None:
        self.directory = directory
        self.port, self.admin = free_port(), free_port()
        self.text = CONFIG.format(port=self.port, admin=self.admin, legacy=backend, target=backend)
        self.versions = 0
        self.put(0)
        for name in ("cutover.yaml", "rollout"):
            (directory / name).symlink_to(f"..data/{name}")

    def put(self, percentage: int) -> None:
        self.versions += 1
        version = self.directory / f"..{self.versions}"
        (version / "rollout").mkdir(parents=True)
        (version / "cutover.yaml").write_text(self.text)
        (version / "rollout/percentage").write_text(f"{percentage}\n")
        (version / "rollout/enabled").write_text("true\n" if percentage else "false\n")
        link = self.directory / "..next"
        link.symlink_to(version.name)
        link.rename(self.directory / "..data")

    @property
    def flags(self) -> tuple[str, str]:
        return "--volume", f"{self.directory}:/etc/cutover:ro"

    def ask(self, user: str) -> str:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/images/1", headers={"X-User-Id": user})
        with urllib.request.urlopen(request, timeout=5) as response:
            return str(response.headers["X-Cutover-Source"])

    def ready(self) -> bool:
        return bool(self.read("/readyz"))

    def read(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=5) as response:
            return str(response.read().decode())

    def share(self) -> float:
        asked = [self.ask(f"user-{number}") for number in range(200)]
        return asked.count("image_service") / len(asked)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def mount(source: tuple[int, list[str]]) -> Iterator[Mount]:
    with tempfile.TemporaryDirectory(prefix="cutover-image-") as directory:
        Path(directory).chmod(0o755)
        yield Mount(Path(directory), source[0])


def test_it_is_small_and_says_what_it_is(base: str, built: str, measured: dict[str, object]) -> None:
    facts = facts_of(built)
    with tempfile.TemporaryDirectory() as directory:
        archive = Path(directory, "image.tar")
        done("podman", "image", "save", "--quiet", "--output", str(archive), built)
        with tarfile.open(archive) as saved:
            names = json.load(saved.extractfile("manifest.json"))[0]["Layers"]
            layers = [saved.extractfile(name).read() for name in names]
    measured["base"] = base
    measured["layers_bytes"] = [len(layer) for layer in layers]
    measured["layers_gzip_bytes"] = [len(gzip.compress(layer, 6)) for layer in layers]
    measured["size_bytes"] = facts["Size"]
    assert facts["Size"] < LARGEST_BYTES, "all of it: nothing of the base image is below"
    labels = facts["Labels"]
    assert labels["org.opencontainers.image.version"] == done(
        "sed", "-n", 's/^__version__ = "\\(.*\\)"$/\\1/p', "proxy/__init__.py"
    )
    assert labels["org.opencontainers.image.source"] == "https://example.com/cutover"
    assert len(labels["org.opencontainers.image.revision"].removesuffix("-dirty")) == 40
    assert facts["Config"]["User"] == "65532:65532"
    assert facts["Config"]["StopSignal"] == "SIGTERM"
    assert facts["HealthCheck" if "HealthCheck" in facts else "Healthcheck"]["Test"][-1] == "proxy.healthcheck"


def test_it_splits_reloads_and_stops_as_process_1_without_rights(built: str, mount: Mount) -> None:
    with running(built, *mount.flags) as container:
        until(mount.ready, "ready")
        assert mount.share() == 0
        mount.put(50)
        took_s = until(lambda: mount.ask("user-1") and 0.35 < mount.share() < 0.65, "the new percentage")
        assert took_s < 10
        mount.put(100)
        until(lambda: mount.share() == 1, "all of them")
        assert container.run("id", "-u") == "65532"
        assert_it_has_no_rights(container)
        assert_a_rollback_is_in_force_before_the_file_says_so_and_then_the_file_leads_again(container, mount)
        assert "answers 200" in container.run("python", "-I", "-m", "proxy.healthcheck")
        assert container.stop() == 0
        assert '"event":"request"' in container.logs().replace(": ", ":")


def assert_a_rollback_is_in_force_before_the_file_says_so_and_then_the_file_leads_again(
    container: Container, mount: Mount
) -> None:
    """As on Kubernetes, where the kubelet brings the file a minute later."""
    container.run("cutover", "rollback", "--admin", f"http://127.0.0.1:{mount.admin}")
    assert mount.share() == 0
    mount.put(0)
    until(lambda: json.loads(mount.read("/status"))["override"] is None, "the override ends")
    assert mount.share() == 0
    mount.put(50)
    until(lambda: 0.35 < mount.share() < 0.65, "the file leads")


def assert_it_has_no_rights(container: Container) -> None:
    status = container.run("cat", "/proc/1/status")
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    for place in ("/etc/cutover/x", "/opt/cutover/x", "/x"):
        with pytest.raises(AssertionError, match="Read-only file system"):
            container.run("touch", place)
    assert container.run("cat", "/proc/1/comm").startswith(("cutover", "python"))


def test_health_is_asked_where_the_configuration_says_and_a_sick_sidecar_is_found(built: str, mount: Mount) -> None:
    with running(built, *mount.flags) as container:
        until(mount.ready, "ready")
        check = ("python", "-I", "-m", "proxy.healthcheck")
        assert f"127.0.0.1:{mount.admin} answers 200" in container.run(*check)
        mount.text = mount.text.replace(str(mount.admin), str(free_port()))
        mount.put(0)
        with pytest.raises(AssertionError, match="does not answer"):
            container.run(*check)
        mount.text = "legacy: ["
        mount.put(0)
        container.run(*check)
        assert container.stop() == 0


def test_a_mistake_in_the_configuration_is_one_clear_message_and_2(built: str, tmp_path: Path) -> None:
    (tmp_path / "cutover.yaml").write_text("legasy: {url: http://a}\n")
    tmp_path.chmod(0o755)
    (tmp_path / "cutover.yaml").chmod(0o644)
    with running(built, "--volume", f"{tmp_path}:/etc/cutover:ro") as container:
        assert done("podman", "wait", container.name) == "2"
        logs = image.subprocess.run(["podman", "logs", container.name], capture_output=True, text=True, check=True)
        assert 'did you mean "legacy"' in logs.stderr + logs.stdout


def test_the_commands_are_there(built: str) -> None:
    for arguments in (("--version",), ("check", "/etc/cutover/cutover.yaml"), ("rollout", "plan", "--help")):
        done(*image.PODMAN, "run", "--rm", *image.HARDENED, built, *arguments)
    compiled = "import proxy.core.routing as m; raise SystemExit(not m.__file__.endswith('.so'))"
    done(*image.PODMAN, "run", "--rm", *image.HARDENED, "--entrypoint", "python", built, "-c", compiled)


def test_it_is_ready_soon_after_its_process_starts(built: str, mount: Mount, measured: dict[str, object]) -> None:
    took_ms, cpu_ms = [], []
    for _ in range(5):
        with running(built, *mount.flags) as container:
            until(mount.ready, "ready", every_s=0.002)
            ready_at = time.clock_gettime(time.CLOCK_BOOTTIME)
            first = process_1(container)
            took_ms.append(round((ready_at - started_at(first)) * 1000))
            cpu_ms.append(round(cpu_s(first) * 1000))
            assert container.stop() == 0
    measured["start_ms"] = took_ms
    measured["start_median_ms"] = statistics.median(took_ms)
    measured["start_cpu_median_ms"] = statistics.median(cpu_ms)  # what it is on a machine with nothing else to do
    assert statistics.median(took_ms) < 10_000


def process_1(container: Container) -> int:
    return int(done("podman", "inspect", "--format", "{{.State.Pid}}", container.name))


def figures_of(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on (proc(5))."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def started_at(pid: int) -> float:
    """When it was started, in seconds since boot; the kernel knows it to 10 ms."""
    return int(figures_of(pid)[19]) / os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """What it and its children have used of processors."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    own = sum(map(int, figures_of(pid)[11:13])) / os.sysconf("SC_CLK_TCK")
    return own + sum(cpu_s(int(child)) for child in children)


@pytest.mark.skipif(os.environ.get("CUTOVER_IMAGE_TWICE") == "0", reason="a second build; `make image-test` makes it")
def test_two_builds_give_the_same_layers(base: str, built: str) -> None:
    again = image.build(base, "again", "--no-cache")
    assert facts_of(again)["RootFS"] == facts_of(built)["RootFS"]
