"""The container image under test: built once, by whichever tools are there, and run as an orchestrator would."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
STAND_IN = "localhost/cutover-stand-in-for-python"
BASE = "docker.io/library/python:3.11-slim-bookworm"
TOOLS = ("buildah", "podman", "runc", "mmdebstrap")
BUILD_FLAGS = "--isolation chroot --pull-never --network host -v /etc/ssl/certs:/etc/ssl/certs:ro"
PODMAN = ("podman", "--cgroup-manager", "cgroupfs", "--runtime", "runc")
HARDENED = (
    *("--network", "host", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"),
    *("--security-opt", "no-new-privileges", "--ulimit", "nofile=8192:8192", "--ulimit", "nproc=4096:4096"),
    "--health-interval=disable",
)


def why_not() -> str | None:
    """Why the image can't be tested here, or None."""
    if os.environ.get("CUTOVER_IMAGE_TEST") != "1":
        return "building an image takes minutes: `make image-test` does"
    if os.geteuid() != 0:
        return "needs root"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f"not installed: {', '.join(missing)}" if missing else None


def done(*command: str, timeout_s: float = 60.0, env: dict[str, str] | None = None) -> str:
    """What a command prints on standard output. Raises AssertionError with all that it says when it fails."""
    run = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        cwd=ROOT,
        env={**os.environ, **(env or {})},
    )
    assert run.returncode == 0, f"{' '.join(command)}: {run.stdout[-2000:]}{run.stderr[-4000:]}"
    return run.stdout.strip()


def base_image() -> str:
    """The base, from here or from its registry; where none can be reached, a stand-in made by Debian's packages."""
    for name in (BASE, STAND_IN):
        if subprocess.run(["podman", "image", "exists", name], check=False).returncode == 0:
            return name
    try:
        done("podman", "pull", "--quiet", BASE, timeout_s=60)
    except (AssertionError, subprocess.TimeoutExpired):
        done("deploy/image/stand_in.sh", STAND_IN, timeout_s=400)
        return STAND_IN
    return BASE


def why_it_cannot_run(base: str) -> str | None:
    """Why no container can be run on this machine, whatever it holds, or None."""
    try:
        done(*PODMAN, "run", "--rm", *HARDENED, base, "true")
    except (AssertionError, subprocess.TimeoutExpired) as error:
        return f"containers can't be run here: {str(error)[-300:]}"
    return None


def build(base: str, tag: str, *flags: str) -> str:
    """Build it as `make image` does; its name."""
    env = {
        "BUILDER": "buildah",
        "IMAGE": "localhost/cutover",
        "TAG": tag,
        "BASE": base,
        "SOURCE": "https://example.com/cutover",
        "IMAGE_FLAGS": " ".join((BUILD_FLAGS, *flags)),
    }
    return done("deploy/image/build.sh", timeout_s=900, env=env)


def facts_of(name: str) -> dict[str, object]:
    """What podman knows of an image."""
    found: list[dict[str, object]] = json.loads(done("podman", "image", "inspect", name))
    return found[0]


class Container:
    """One that runs in the background."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, *command: str) -> str:
        """What a command prints in it."""
        return done(*PODMAN, "exec", self.name, *command)

    def stop(self) -> int:
        """SIGTERM; its exit status."""
        done(*PODMAN, "stop", "--time", "30", self.name)
        return int(done("podman", "inspect", "--format", "{{.State.ExitCode}}", self.name))

    def logs(self) -> str:
        """All that it has printed."""
        return done(*PODMAN, "logs", self.name)


@contextmanager
def running(image: str, *flags: str, command: tuple[str, ...] = ()) -> Iterator[Container]:
    """Start it hardened, and remove it in the end."""
    container = Container(done(*PODMAN, "run", "--detach", *HARDENED, *flags, image, *command))
    try:
        yield container
    finally:
        subprocess.run([*PODMAN, "rm", "--force", "--time", "1", container.name], capture_output=True, check=False)


def until(true: Callable[[], object], what: str, within_s: float = 30.0, every_s: float = 0.01) -> float:
    """Wait until something is true; how long it took, in seconds."""
    began = time.monotonic()
    while time.monotonic() - began < within_s:
        try:
            if true():
                return time.monotonic() - began
        except OSError:
            pass
        time.sleep(every_s)
    raise AssertionError(f"{what}: not within {within_s:.0f} s")
