"""The whole embedded gallery as one async context manager: two databases, two APIs, seeded and ready.

Everything is started at once and removed at the end, whatever happens in between. Used by the story and by tests.
Must not know of the sidecar.
"""

import asyncio
import os
import secrets
import shutil
import sys
import tempfile
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import aiohttp
import asyncpg
from botocore.exceptions import BotoCoreError, ClientError

from proxy.demo import dynamodb_store, postgres_store
from proxy.demo.dynamodb_server import start_dynamodb
from proxy.demo.faults import Faults
from proxy.demo.legacy_api import POSTGRES_URL_VARIABLE
from proxy.demo.postgres_server import postgres_home, start_postgres
from proxy.demo.processes import (
    Child,
    Launch,
    ReservedPort,
    StartError,
    free_port,
    start_child,
    wait_listening,
)
from proxy.demo.seed import Seed, make_seed

_CONVERGE_POLL_S: Final = 0.05
# The children find this package where the demo found it, also when it was not installed but run from a checkout.
_PACKAGE_ROOT: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class GalleryOptions:
    """What to start; None means the embedded server. `latency_factor` scales the epic's "before" column.

    Without `fill_target` the Image Service begins empty, for a migration to fill.
    """

    postgres_url: str | None = None
    dynamodb_endpoint: str | None = None
    users: int = 300
    images: int = 2000
    seed: int = 5
    latency_factor: float = 0.0
    fill_target: bool = True


class Gallery:
    """The running gallery. Usable as soon as `async with` has entered; raises StartError when a part will not start."""

    def __init__(self, options: GalleryOptions | None = None) -> None:
        self.options = options or GalleryOptions()
        self.content: Seed = make_seed(self.options.users, self.options.images, self.options.seed)
        self.service_token = secrets.token_urlsafe(24)
        # On servers of somebody else's, nothing of theirs can have this name.
        self._name = f"cutover_demo_{secrets.token_hex(4)}"
        self._stack = AsyncExitStack()
        self._image_service: Child | None = None

    def __repr__(self) -> str:
        return f"<Gallery {self._name} image_service={self._image_service!r}>"

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def legacy_url(self) -> str:
        """The legacy API's address."""
        return self._legacy_port.url

    @property
    def image_service_url(self) -> str:
        """The Image Service's address; it stays the same over a restart."""
        return self._image_port.url

    @property
    def table(self) -> str:
        """The DynamoDB table's name."""
        return self._name

    @property
    def schema(self) -> str:
        """The PostgreSQL schema's name."""
        return self._name

    @property
    def authorization(self) -> dict[str, str]:
        """The header that the Image Service asks for."""
        return {"Authorization": f"Bearer {self.service_token}"}

    async def _start(self) -> None:
        self.work_dir = Path(tempfile.mkdtemp(prefix="cutover-demo-"))
        self._stack.callback(shutil.rmtree, self.work_dir, ignore_errors=True)
        self.token_file = self.work_dir / "service-token"
        self.token_file.touch(mode=0o600)
        self.token_file.write_text(self.service_token)
        self._legacy_port, self._image_port = ReservedPort(), ReservedPort()
        self._stack.callback(self._legacy_port.close)
        self._stack.callback(self._image_port.close)
        timeout = aiohttp.ClientTimeout(total=10)
        self._session = await self._stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
        self.dynamodb_endpoint = self.options.dynamodb_endpoint or f"http://127.0.0.1:{free_port()}"
        home = None
        if self.options.postgres_url is None:
            home = self._stack.enter_context(postgres_home())
        self.postgres_url = self.options.postgres_url or (home.url if home else "")

        async def legacy_database() -> None:
            if home is not None:
                await start_postgres(home, self.work_dir / "postgres.log", self._stack)
            await self._fill_postgres()

        async def target_database() -> None:
            if self.options.dynamodb_endpoint is None:
                port = urlsplit(self.dynamodb_endpoint).port or 0
                await start_dynamodb(port, self.work_dir, self._stack)
            await self._fill_dynamodb()

        # The two APIs connect when first asked, so they need not wait for their databases.
        await _all_of(legacy_database(), target_database(), self._start_legacy(), self.start_image_service())

    async def _fill_postgres(self) -> None:
        try:
            connection = await asyncpg.connect(self.postgres_url)
        except (OSError, ValueError, asyncpg.PostgresError) as exc:
            raise StartError(f"PostgreSQL at --postgres-url does not answer: {exc}") from exc
        try:
            await postgres_store.create_schema(connection, self.schema)
            if self.options.postgres_url is not None:
                self._stack.push_async_callback(self._drop_schema)
            await postgres_store.load_images(connection, self.content.images)
        finally:
            await connection.close()

    async def _drop_schema(self) -> None:
        connection = await asyncpg.connect(self.postgres_url)
        try:
            await connection.execute(f"DROP SCHEMA {self.schema} CASCADE")
        finally:
            await connection.close()

    async def _fill_dynamodb(self) -> None:
        async with dynamodb_store.open_client(self.dynamodb_endpoint) as client:
            try:
                await dynamodb_store.create_table(client, self.table)
                if self.options.dynamodb_endpoint is not None:
                    self._stack.push_async_callback(self._delete_table)
                if self.options.fill_target:
                    await dynamodb_store.load_images(client, self.table, self.content.images)
            except (BotoCoreError, ClientError) as exc:
                raise StartError(f"DynamoDB at {self.dynamodb_endpoint} does not serve: {exc}") from exc

    async def _delete_table(self) -> None:
        async with dynamodb_store.open_client(self.dynamodb_endpoint) as client:
            await client.delete_table(TableName=self.table)

    async def _start_legacy(self) -> None:
        arguments = ["--schema", self.schema, "--image-service", self.image_service_url]
        arguments += ["--latency-factor", str(self.options.latency_factor), "--seed", str(self.options.seed)]
        environment = {POSTGRES_URL_VARIABLE: self.postgres_url}
        await self._start_api("legacy API", "legacy_api", self._legacy_port, arguments, environment)

    async def start_image_service(self) -> None:
        """Start the Image Service, or start it again after a kill, on the same address."""
        arguments = ["--dynamodb", self.dynamodb_endpoint, "--table", self.table]
        self._image_service = await self._start_api("Image Service", "image_service", self._image_port, arguments, {})

    async def _start_api(
        self, name: str, module: str, port: ReservedPort, arguments: list[str], environment: dict[str, str]
    ) -> Child:
        argv = [sys.executable, "-m", f"proxy.demo.{module}", "--port", str(port.number)]
        argv += ["--token-file", str(self.token_file), *arguments]
        path = os.pathsep.join(filter(None, (str(_PACKAGE_ROOT), os.environ.get("PYTHONPATH"))))
        log = self.work_dir / f"{module}.log"
        child = start_child(Launch(name, argv, self.work_dir, log, {"PYTHONPATH": path, **environment}))
        self._stack.push_async_callback(child.stop, 2.0)
        await wait_listening(child, port.number)
        return child

    def kill_image_service(self) -> None:
        """SIGKILL the Image Service: connections reset, its port refuses, its table stays."""
        if self._image_service is not None:
            self._image_service.kill()

    async def set_faults(self, faults: Faults) -> None:
        """Put faults in force in the Image Service; `Faults()` ends them."""
        document = {"latency_ms": faults.latency_ms, "error_ratio": faults.error_ratio}
        document |= {"reset_ratio": faults.reset_ratio, "truncate_ratio": faults.truncate_ratio}
        body: dict[str, Any] = {**document, "black_hole": faults.black_hole, "seed": faults.seed}
        url = f"{self.image_service_url}/internal/faults"
        async with self._session.put(url, json=body, headers=self.authorization) as response:
            response.raise_for_status()

    async def dual_write_status(self) -> dict[str, Any]:
        """What the legacy API says of its dual-writes."""
        async with self._session.get(f"{self.legacy_url}/internal/dual-write") as response:
            return dict(await response.json())

    async def wait_converged(self, timeout_s: float = 15.0) -> bool:
        """Wait until no dual-write is pending; True when none was dropped or refused either."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while (status := await self.dual_write_status())["pending"]:  # noqa: ASYNC110 - another process has no event for this one
                    await asyncio.sleep(_CONVERGE_POLL_S)
                return not status["dropped"] and not status["refused"]
        return False


async def _all_of(*parts: Any) -> None:  # noqa: ANN401 - coroutines of any result
    """Await all at once; on the first failure the others are cancelled and that one failure is raised."""
    try:
        async with asyncio.TaskGroup() as tasks:
            for part in parts:
                tasks.create_task(part)
    except* StartError as group:
        raise group.exceptions[0] from None
