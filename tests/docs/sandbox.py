"""A place where a document's commands are carried out: a copy of what they name, a sidecar, two sources.

What is written in a document and what is meant here differ in ports and in places outside the repository; `Sandbox`
puts the one for the other in commands and in files, and back in what they print.
"""

import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from tests.docs.classification import Run, Serve

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
_COPIED = ("config", "deploy", "bench/README.md", "README.md", "Makefile", "pyproject.toml")
_MADE = (
    "etc/cutover",
    "etc/grafana/provisioning/dashboards",
    "etc/grafana/provisioning/datasources",
    "run/cutover",
    ".state",
)


def free_port() -> int:
    """A port to listen on, out of a range that the system gives to nobody who only connects."""
    while True:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", random.randrange(20000, 30000)))
            return probe.getsockname()[1]


class Sandbox:
    """`run` and `serve` raise AssertionError, with what was printed, when a command does not do what it should."""

    def __init__(self, folder: Path, sources: dict[str, int]):
        self.folder = folder
        self._ports = {"8080": free_port(), "9900": free_port()}
        self._substitutions = {
            "https://images.example.com": f"http://127.0.0.1:{sources['image_service']}",
            "127.0.0.1:3000": f"127.0.0.1:{sources['postgresql']}",
            "0.0.0.0:8080": f"127.0.0.1:{self._ports['8080']}",
            "127.0.0.1:8080": f"127.0.0.1:{self._ports['8080']}",
            "127.0.0.1:9900": f"127.0.0.1:{self._ports['9900']}",
            "--for 24h": "--for 2s --every 1s",  # a day of snapshots, here two seconds
            " /etc/": f" {folder}/etc/",
            " /run/": f" {folder}/run/",
        }
        self._served: dict[str, tuple[subprocess.Popen, Path, Serve]] = {}
        self._fill()
        self._environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "COLUMNS": "100",
            "EDITOR": "true",
            "NO_PROXY": "*",
            # A plan that asks CloudWatch is refused at once, as it would be without credentials.
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ACCESS_KEY_ID": "none",
            "AWS_SECRET_ACCESS_KEY": "none",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        }

    def _fill(self) -> None:
        for name in _COPIED:
            source, target = ROOT / name, self.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
        for name in _MADE:
            (self.folder / name).mkdir(parents=True)
        for file in (self.folder / "config").rglob("*.yaml"):
            file.write_text(self.meant(file.read_text()))
        shutil.copy(self.folder / "config" / "cutover.yaml", self.folder / "etc" / "cutover" / "cutover.yaml")
        (self.folder / "cohort.txt").write_text("test-user-1\ntest-user-2\n")
        (self.folder / "cutover.log").touch()

    def meant(self, text: str) -> str:
        """What a text of a document means here."""
        for written, here in self._substitutions.items():
            text = text.replace(written, here)
        return text

    def written(self, text: str) -> str:
        """What a document would say for what was printed here."""
        for written, here in reversed(self._substitutions.items()):
            text = text.replace(here, written.replace("0.0.0.0:8080", "127.0.0.1:8080"))
        return text.replace(f"{self.folder}/", "")

    def run(self, command: str, treatment: Run) -> str:
        """Carry a command out, as a shell that keeps its directory and its variables would; what it prints."""
        if re.search(r"127\.0\.0\.1|ADMIN|rollout (start|rehearse)", command):
            self._ensure_sidecar()
        state = self.folder / ".state"
        script = (
            f'cd "$(cat {state}/place 2>/dev/null || echo {self.folder})"\n'
            f"[ ! -f {state}/variables ] || . {state}/variables\nset -a\n{self.meant(command)}\n"
            f"status=$?; pwd > {state}/place; export -p > {state}/variables; exit $status"
        )
        done = subprocess.run(
            ["bash", "-c", script],
            env=self._environment, cwd=self.folder, text=True, timeout=PATIENCE_S, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode in treatment.status, f"exit {done.returncode}:\n{done.stdout}"
        return self.written(done.stdout)

    def serve(self, command: str, treatment: Serve) -> None:
        """Start a command and wait until it says what it should; it stays, in place of one of its kind before it."""
        kind = re.sub(r"^(\w+=\S*\s+)*", "", command).split(" -")[0]
        if kind in self._served:
            self._end(kind)
        if kind != "cutover run":
            self._ensure_sidecar()
        output = self.folder / ".state" / f"{len(self._served)}.{time.monotonic_ns()}"
        if kind == "cutover run":
            output = self.folder / "cutover.log"
        script = re.sub(r"^((?:\w+=\S*\s+)*)", r"\1exec ", self.meant(command), count=1)
        said_before = output.stat().st_size if output.exists() else 0
        with output.open("ab") as sink:
            process = subprocess.Popen(
                ["bash", "-c", script], env=self._environment, cwd=self.folder,
                stdin=subprocess.DEVNULL, stdout=sink, stderr=sink,
            )  # fmt: skip
        self._served[kind] = process, output, treatment
        until = time.monotonic() + PATIENCE_S
        while not re.search(treatment.says, output.read_bytes()[said_before:].decode(errors="replace")):
            assert process.poll() is None, f"ended with {process.returncode}:\n{output.read_text()}"
            assert time.monotonic() < until, f"did not say {treatment.says!r}:\n{output.read_text()}"
            time.sleep(0.05)

    def _ensure_sidecar(self) -> None:
        if not any(kind == "cutover run" for kind in self._served):
            self.serve("cutover run -c config/cutover.yaml", Serve('"event":"started"'))

    def _end(self, kind: str) -> None:
        process, output, treatment = self._served.pop(kind)
        process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"{kind}: did not end:\n{output.read_text()}") from None
        assert status in treatment.status, f"{kind}: exit {status}:\n{output.read_text()}"

    def close(self) -> None:
        """End what is served, last first; raise what was wrong with any of it."""
        faults = []
        while self._served:
            kind = next(reversed(self._served))
            try:
                self._end(kind)
            except AssertionError as fault:
                faults.append(str(fault))
        assert not faults, "\n".join(faults)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        with contextlib.suppress(AssertionError) if kind is not None else contextlib.nullcontext():
            self.close()
