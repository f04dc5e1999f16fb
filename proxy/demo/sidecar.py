"""The sidecar as the demo runs it: a real `cutover run` process, driven by its admin API and nothing else."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml

from proxy.demo.gallery import Gallery
from proxy.demo.processes import Launch, Signals, StartError, free_port, start_child, wait_listening
from proxy.demo.stats import LEGACY, TARGET

TARGET_TIMEOUT: Final = "1s"
BREAKER_OPEN_FOR: Final = "2s"
_PACKAGE_ROOT: Final = Path(__file__).resolve().parents[2]
COMMAND: Final = (sys.executable, "-m", "proxy")
_READY_S: Final = 15.0
_START_TRIES: Final = 3


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
        config = work_dir / "cutover.yaml"
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

    async def set_percentage(self, percentage: int) -> None:
        """`PATCH /rollout`; when this returns, every new request is decided by it. Raises SidecarError."""
        await self._change("PATCH", "/rollout", {"percentage": percentage, "enabled": True})

    async def roll_back(self) -> None:
        """`POST /rollback`. Raises SidecarError."""
        await self._change("POST", "/rollback", None)

    async def _change(self, method: str, path: str, document: dict[str, Any] | None) -> None:
        url = f"{self.admin_url}{path}"
        try:
            async with self._session.request(method, url, json=document) as response:
                text = await response.text()
                status = response.status
        except (aiohttp.ClientError, TimeoutError) as exc:
            raise SidecarError(f"{method} {path}: {exc}") from exc
        if status >= 300:
            raise SidecarError(f"{method} {path} answered {status}: {text[:300]}")
