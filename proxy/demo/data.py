"""The demo's data, before its users move: migrated and verified by the real commands, with writes going on meanwhile.

Neighbours: `run` calls it once the gallery is up with an empty target; `gallery` knows the addresses.
"""

import asyncio
import json
import os
import random
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml

from proxy.demo.gallery import Gallery
from proxy.demo.processes import Launch, StartError, start_child

URL_VARIABLE: Final = "CUTOVER_DEMO_MIGRATE_FROM"
_WRITES_PER_S: Final = 20.0
_SAMPLE: Final = 60
_PACKAGE_ROOT: Final = Path(__file__).resolve().parents[2]
# As config/migration.yaml, which an installed package has not beside it.
ATTRIBUTES: Final[dict[str, dict[str, str]]] = {
    "id": {"column": "id", "type": "string"},
    "userId": {"column": "user_id", "type": "string"},
    "title": {"column": "title", "type": "string"},
    "description": {"column": "description", "type": "string"},
    "url": {"column": "url", "type": "string"},
    "thumbnailUrl": {"column": "thumbnail_url", "type": "string"},
    "tags": {"column": "tags", "type": "list", "items": "string"},
    "albumId": {"column": "album_id", "type": "string"},
    "width": {"column": "width", "type": "number"},
    "height": {"column": "height", "type": "number"},
    "sizeBytes": {"column": "size_bytes", "type": "number"},
    "createdAt": {"column": "created_at", "type": "timestamp"},
    "updatedAt": {"column": "updated_at", "type": "timestamp"},
    "createdAtId": {"template": "{createdAt}#{id}"},
}


@dataclass(frozen=True, slots=True)
class Moved:
    """What the commands reported, and how many writes users made meanwhile."""

    migrated: dict[str, Any]
    verified: dict[str, Any]
    compared_apis: dict[str, Any]
    writes: int


def mapping_of(gallery: Gallery) -> dict[str, Any]:
    """The mapping of this gallery's table."""
    return {
        "table": f"{gallery.schema}.images",
        "key": ["id"],
        "attributes": ATTRIBUTES,
        "http": {"list": "/images?userId={user}&limit=100"},
    }


async def move_data(gallery: Gallery, say: Callable[[str], None]) -> Moved:
    """Migrate, then verify, over the databases and over the APIs. Raises StartError when any of it fails."""
    say("Moving the data with the real commands, while users go on writing …")
    writer = _Writer(gallery)
    writing = asyncio.get_running_loop().create_task(writer.run())
    try:
        moved = await _move(gallery, say, writer)
    finally:
        writing.cancel()
        with suppress(asyncio.CancelledError):
            await writing
    if not await gallery.wait_converged():
        raise StartError("dual-write did not come to rest after the migration")
    return moved


async def _move(gallery: Gallery, say: Callable[[str], None], writer: "_Writer") -> Moved:
    work = gallery.work_dir
    mapping, users = work / "migration.yaml", work / "users.txt"
    mapping.write_text(yaml.safe_dump(mapping_of(gallery)))
    users.write_text("\n".join(gallery.content.users))
    databases = [f"--from=${{env:{URL_VARIABLE}}}", "--to", _target(gallery), "--mapping", str(mapping)]
    migrated = await _run(gallery, "migrate", *databases, f"--checkpoint={work / 'checkpoint'}")
    say(
        f"cutover migrate: {migrated['written']} of {migrated['read']} rows to items in {migrated['seconds']:.1f} s,"
        f" {migrated['skipped_newer']} were there already, by dual-write."
    )
    proofs = proof_files(work)
    verified = await _run(gallery, "verify", *databases, "--delay=500ms", f"--report={proofs[0]}")
    say(f"cutover verify: {verified['compared']} items, both ways and field by field: no mismatch.")
    sides = ["--via=http", "--legacy", gallery.legacy_url, "--target", gallery.image_service_url]
    token = f"--target-header=Authorization: Bearer ${{file:{gallery.token_file}}}"
    lists = ["--users", str(users), "--mapping", str(mapping), "--sample", str(_SAMPLE), "--delay=500ms"]
    apis = await _run(gallery, "verify", *sides, token, *lists, f"--report={proofs[1]}")
    say(
        f"cutover verify --via http: {apis['compared']} of them as users see them: the same."
        f" Meanwhile users made {writer.writes} writes."
    )
    return Moved(migrated, verified, apis, writer.writes)


def proof_files(work_dir: Path) -> tuple[Path, Path]:
    """What `cutover verify` wrote: by the databases, and by the APIs."""
    return work_dir / "verify-databases.json", work_dir / "verify-apis.json"


def _target(gallery: Gallery) -> str:
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    return f"dynamodb://{gallery.table}?region={region}&endpoint={gallery.dynamodb_endpoint}"


async def _run(gallery: Gallery, command: str, *arguments: str) -> dict[str, Any]:
    """A `cutover` command's JSON. Raises StartError when it does not exit with 0."""
    log = gallery.work_dir / f"{command}.log"
    log.unlink(missing_ok=True)
    path = os.pathsep.join(filter(None, (str(_PACKAGE_ROOT), os.environ.get("PYTHONPATH"))))
    environment = {"PYTHONPATH": path, URL_VARIABLE: gallery.postgres_url}
    if "AWS_ACCESS_KEY_ID" not in os.environ and "AWS_PROFILE" not in os.environ:
        environment |= {"AWS_ACCESS_KEY_ID": "demo", "AWS_SECRET_ACCESS_KEY": "demo"}
    argv = [sys.executable, "-m", "proxy", command, *arguments, "--json"]
    child = start_child(Launch(f"cutover {command}", argv, gallery.work_dir, log, environment))
    try:
        if await child.wait() != 0:
            raise child.failure("failed:")
    finally:
        child.kill()
    result: dict[str, Any] = json.loads(log.read_text().splitlines()[-1])
    return result


class _Writer:
    """Users who go on changing, adding and removing images at the legacy API; what they add they remove again."""

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery
        self._rng = random.Random(gallery.options.seed)
        self._added: list[str] = []
        self.writes = 0

    def __repr__(self) -> str:
        return f"<_Writer {self.writes} writes>"

    async def run(self) -> None:
        """Write until cancelled, then remove what is left of what was added."""
        timeout = aiohttp.ClientTimeout(total=5)
        async with aiohttp.ClientSession(self._gallery.legacy_url, timeout=timeout) as session:
            try:
                while True:
                    await self._write(session)
                    await asyncio.sleep(1 / _WRITES_PER_S)
            finally:
                for image_id in self._added:
                    await self._send(session, "DELETE", f"/images/{image_id}")

    async def _write(self, session: aiohttp.ClientSession) -> None:
        draw = self._rng.random()
        if draw < 0.2:
            image_id = f"moving-{self.writes}"
            document = {"id": image_id, "userId": self._rng.choice(self._gallery.content.users), "title": "On the move"}
            document |= {"url": f"https://images.example.com/{image_id}"}
            sizes = {"width": 800, "height": 600, "sizeBytes": 1}
            await self._send(session, "POST", "/images", {**document, **sizes})
            self._added.append(image_id)
        elif draw < 0.4 and self._added:
            await self._send(session, "DELETE", f"/images/{self._added.pop(0)}")
        else:
            image = self._rng.choice(self._gallery.content.images)
            await self._send(session, "PATCH", f"/images/{image.id}", {"description": f"Edited {self.writes} times."})
        self.writes += 1

    @staticmethod
    async def _send(session: aiohttp.ClientSession, method: str, path: str, body: object = None) -> None:
        async with session.request(method, path, json=body) as response:
            await response.read()
            if response.status >= 300:
                raise StartError(f"{method} {path} at the legacy API answered {response.status} during the migration")
