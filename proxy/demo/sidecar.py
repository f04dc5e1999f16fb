"""The sidecar as the demo runs it: a real `cutover run` process, driven by its admin API and nothing else."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml

from proxy.demo.gallery import Gallery
from proxy.demo.processes import Launch, Signals, StartError, free_port, start_child, wait_listening
from proxy.demo.stats import LEGACY, TARGET

TARGET_TIMEOUT: Final = "2s"
BREAKER_OPEN_FOR: Final = "2s"
_PACKAGE_ROOT: Final = Path(__file__).resolve().parents[2]
COMMAND: Final = (sys.executable, "-m", "proxy")
_READY_S: Final = 15.0
_START_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class Gate:
    """What the controller of the rollout said last: its phase, its verdict, each check's verdict and why."""

    phase: str
    verdict: str
    why: str
    checks: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at the admin API, asked for and answered at these seconds of the loop's clock.

    `share` is the percentage of users that move, `everywhere` says that every worker has that configuration.
    """

    asked_s: float
    heard_s: float
    share: int
    everywhere: bool
    gate: Gate | None = None

    @property
    def verdict(self) -> str:
        """What the controller has said of everything."""
        return self.gate.verdict if self.gate is not None else ""

    @property
    def phase(self) -> str:
        """What the controller does."""
        return self.gate.phase if self.gate is not None else ""

    @property
    def why(self) -> str:
        """Its reason."""
        return self.gate.why if self.gate is not None else ""


class SidecarError(RuntimeError):
    """The admin API refused or did not answer."""


def sidecar_config(gallery: Gallery, port: int, admin_port: int) -> dict[str, Any]:
    """Return the config of the demo's sidecar: the shipped defaults, but for what a minute has no time for."""
    return {
        "listen": f"127.0.0.1:{port}",
        "admin": {"listen": f"127.0.0.1:{admin_port}"},
        "legacy": {"name": LEGACY, "url": gallery.legacy_url, "timeout": "10s"},
        "target": {
            "name": TARGET,
            "url": gallery.image_service_url,
            "timeout": TARGET_TIMEOUT,
            "headers": {"set": {"Authorization": f"Bearer ${{file:{gallery.token_file}}}"}},
            "circuit_breaker": {"open_for": BREAKER_OPEN_FOR},
        },
        "rollout": {"enabled": False, "percentage": 0},
        "limits": {"drain_timeout": "2s"},
        "logging": {"level": "info", "access": "fallbacks"},
    }


class Sidecar:
    """A running sidecar in front of a gallery."""

    def __init__(self, gallery: Gallery, session: aiohttp.ClientSession, command: Sequence[str] = COMMAND) -> None:
        self._command = command
        self._gallery = gallery
        self._session = session
        self._port = self._admin_port = 0

    def __repr__(self) -> str:
        return f"<Sidecar {self.url} admin {self.admin_url}>"

    @property
    def url(self) -> str:
        """Where the gallery's users go."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def admin_url(self) -> str:
        """The admin API."""
        return f"http://127.0.0.1:{self._admin_port}"

    @property
    def config_file(self) -> Path:
        """Its configuration, which the rollout changes."""
        return self._gallery.work_dir / "cutover.yaml"

    @property
    def log_file(self) -> Path:
        """Where its log goes."""
        return self._gallery.work_dir / "sidecar.log"

    async def start(self, stack: AsyncExitStack) -> None:
        """Start it and return when `/readyz` says 200; `stack` stops it. Raises StartError."""
        for left in reversed(range(_START_TRIES)):
            self._port, self._admin_port = free_port(), free_port()
            try:
                await self._start_once(stack)
            except StartError:
                # Between choosing a free port and listening on it, somebody else can take it.
                if left == 0:
                    raise
            else:
                return

    async def _start_once(self, stack: AsyncExitStack) -> None:
        work_dir = self._gallery.work_dir
        config = self.config_file
        config.write_text(yaml.safe_dump(sidecar_config(self._gallery, self._port, self._admin_port)))
        path = os.pathsep.join(filter(None, (str(_PACKAGE_ROOT), os.environ.get("PYTHONPATH"))))
        argv = [*self._command, "run", "-c", str(config)]
        # SIGTERM, not SIGKILL, when the demo is gone: its supervisor then also ends its workers.
        signals = Signals(orphaned=signal.SIGTERM)
        launch = Launch("the sidecar", argv, work_dir, self.log_file, {"PYTHONPATH": path}, signals=signals)
        child = start_child(launch)
        stack.push_async_callback(child.stop, 4.0)
        await wait_listening(child, self._admin_port)
        deadline = asyncio.get_running_loop().time() + _READY_S
        while asyncio.get_running_loop().time() < deadline:
            if await self._status_of("/readyz") == 200:
                return
            if not child.running:
                break
            await asyncio.sleep(0.05)
        raise child.failure("did not become ready:")

    async def _status_of(self, path: str) -> int | None:
        try:
            async with self._session.get(f"{self.admin_url}{path}") as response:
                return response.status
        except aiohttp.ClientError:
            return None

    async def look(self) -> Seen:
        """Look at what is in force, and at what the controller says. Raises SidecarError."""
        clock = asyncio.get_running_loop().time
        asked_s = clock()
        status, told = await asyncio.gather(self._read("/status"), self._read("/rollout/controller"))
        if status is None:
            raise SidecarError("GET /status is not answered")
        share = int(status["percentage"]) if status["enabled"] else 0
        everywhere = all(worker["revision"] == status["revision"] for worker in status["workers"])
        return Seen(asked_s, clock(), share, everywhere, None if told is None else _gate(told))

    async def _read(self, path: str) -> dict[str, Any] | None:
        """The JSON of an answer; None for what is not there."""
        try:
            async with self._session.get(f"{self.admin_url}{path}") as response:
                return dict(await response.json()) if response.status == 200 else None
        except (aiohttp.ClientError, TimeoutError, ValueError) as exc:
            raise SidecarError(f"GET {path}: {exc}") from exc


def _gate(told: dict[str, Any]) -> Gate:
    checks = tuple((str(check["name"]), str(check["verdict"])) for check in told["checks"])
    return Gate(str(told["phase"]), str(told["verdict"]), str(told["why"]), checks)
