"""A sidecar in the middle of a rollout, with traffic that looks real, and pictures of its page.

`python tests/page/scene.py --minutes 16 --out docs/images` plays it, and then takes the pictures of the documentation.
`--serve` plays it until interrupted. Needs the extras `dev` and `bench`.
"""

import argparse
import asyncio
import contextlib
import random
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import aiohttp
from PIL import Image
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.e2e.sidecar import ROOT, Sidecar, command, config, write_config
from tests.page.browsing import DESKTOP, PHONE, Visit, launch, take_from_disk

# Median milliseconds of each source for each operation; what comes is spread around it.
_MEDIAN_MS: Final = {
    "legacy": {"GET one": 95, "GET all": 160, "POST": 900, "PUT": 140, "DELETE": 110},
    "target": {"GET one": 13, "GET all": 34, "POST": 300, "PUT": 25, "DELETE": 30},
}
_MIX: Final = [("GET one", 70), ("GET all", 22), ("POST", 4), ("PUT", 3), ("DELETE", 1)]
_OPERATIONS: Final = [
    {"name": "get", "match": "GET /images/{id}"},
    {"name": "list", "match": "GET /images"},
    {"name": "upload", "match": "POST /images", "route": "legacy"},
    {"name": "update", "match": "PUT|PATCH /images/{id}", "route": "legacy"},
    {"name": "delete", "match": "DELETE /images/{id}", "route": "legacy"},
]

# What is left of the way goes by a plan, whose gates stay at HOLD for what the story does to the target.
_PLAN: Final = {
    "stages": [
        {"percentage": 50, "hold": "20m", "approval": True},
        {"percentage": 100, "hold": "24h"},
    ],
    "interval": "5s",
    "settle": "10s",
    "window": "2m",
    "failures_before_no_go": 100,
    "checks": [
        {"name": "get p95", "source": "target", "operation": "get", "quantile": 0.95, "below": "50ms"},
        {"name": "target errors", "source": "target", "error_ratio_below": 0.01},
        {"name": "user errors", "user_error_ratio_below": 0.01},
        {"name": "fallbacks", "fallback_ratio_below": 0.05},
        {"name": "complaints", "manual": True, "below": 1},
    ],
}


def start_rollout(admin: str, directory: Path) -> subprocess.Popen[bytes]:
    """A controller that takes this sidecar from 50 % on."""
    at = f"http://{admin}"
    places = {"observe": {"sidecars": [at]}, "apply": {"sidecars": [at]}, "journal": "rollout.db"}
    write_config(directory / "plan.yaml", {**_PLAN, **places})
    words = command("rollout", "start", "plan.yaml", "--no-owner", "--no-rehearsal")
    return subprocess.Popen(words, cwd=directory, stdout=subprocess.DEVNULL)


class Source:
    """Answers after a while; `missing` and `failing` are shares of its answers, `slower` a factor."""

    def __init__(self, role: str) -> None:
        self.role = role
        self.missing = self.failing = 0.0
        self.slower = 1.0
        self.port = 0
        self._random = random.Random(role)

    async def serve(self) -> None:
        server = await asyncio.start_server(self._on_connection, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]

    async def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                kind = kind_of(head.split(b" ")[0].decode(), head.split(b" ")[1].decode())
                median_s = _MEDIAN_MS[self.role][kind] / 1e3
                await asyncio.sleep(self._random.lognormvariate(0, 0.4) * median_s * self.slower)
                draw = self._random.random()
                status = b"503 no" if draw < self.failing else b"404 no" if draw < self.missing else b"200 OK"
                writer.write(b"HTTP/1.1 %b\r\nContent-Length: 2\r\n\r\n{}" % status)
        writer.close()


def kind_of(method: str, path: str) -> str:
    return ("GET all" if path == "/images" else "GET one") if method == "GET" else method


class Scene:
    """The two sources, the load, and the sidecar. `beat` is the length of a scene's minute in seconds."""

    def __init__(self, directory: Path, beat: float = 60.0, rate: float = 60.0) -> None:
        self.beat, self.rate = beat, rate
        self.legacy, self.target = Source("legacy"), Source("target")
        self.file = directory / "cutover.yaml"
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        for source in (self.legacy, self.target):
            asyncio.run_coroutine_threadsafe(source.serve(), self.loop).result()
        self.settings: dict[str, Any] = config(
            f"http://127.0.0.1:{self.legacy.port}",
            f"http://127.0.0.1:{self.target.port}",
            workers=2,
            legacy={"timeout": "10s"},
            target={"timeout": "800ms", "circuit_breaker": {"enabled": True}},
            rollout={"percentage": 10, "users": {"target": ["u-qa-1", "u-qa-2", "u-qa-3"], "legacy": ["u-vip"]}},
            operations=_OPERATIONS,
        )
        self.sidecar = Sidecar(write_config(self.file, self.settings))
        self._rollout: subprocess.Popen[bytes] | None = None
        self._load = asyncio.run_coroutine_threadsafe(self._drive(), self.loop)

    async def _drive(self) -> None:
        draw = random.Random(7)
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
            asyncio.TaskGroup() as group,
        ):
            while True:
                group.create_task(self._ask(session, draw))
                await asyncio.sleep(draw.expovariate(self.rate))

    async def _ask(self, session: aiohttp.ClientSession, draw: random.Random) -> None:
        kind = draw.choices([name for name, _ in _MIX], [weight for _, weight in _MIX])[0]
        path = "/images" if kind in ("GET all", "POST") else f"/images/{draw.randrange(10_000)}"
        user = {"X-User-Id": f"u-{draw.randrange(2000)}"}
        with contextlib.suppress(aiohttp.ClientError):
            url = f"http://{self.sidecar.address}{path}"
            async with session.request(kind.split(" ")[0], url, headers=user) as answer:
                await answer.read()

    def set_percentage(self, percentage: int) -> None:
        answer = self.sidecar.ask_admin("PATCH", "/rollout", {"percentage": percentage})
        assert answer.status == 200, answer.body

    def steps(self) -> Iterator[tuple[float, str]]:
        """The story: how long each part lasts, in beats, and what it is."""
        yield 3.0, "10 %"
        self.set_percentage(25)
        yield 3.0, "25 %"
        self.target.slower = 25.0
        yield 0.4, "the target is slow"
        self.target.slower = 1.0
        yield 2.0, "and well again"
        self.set_percentage(50)
        self._rollout = start_rollout(self.sidecar.admin, self.file.parent)
        yield 2.5, "50 %"
        self.target.failing = 1.0
        yield 0.35, "the target fails, the breaker opens"
        self.target.failing = 0.0
        yield 3.25, "and well again"
        self.target.missing = 0.03
        yield 0.8, "some images are missing in the target"
        broken = self.file.read_text().replace("percentage: 50", "percentage: 150", 1)
        self.file.write_text(broken.replace("timeout: 800ms", "timout: 800ms"))
        yield 0.2, "a rejected configuration"

    def stop(self) -> None:
        if self._rollout is not None:
            self._rollout.kill()
            self._rollout.wait()
        self._load.cancel()
        self.sidecar.stop()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)


def take_pictures(admin: str, out: Path, *, from_disk: bool = False) -> None:
    """Desktop in both schemes, the phone, and a dialog. `from_disk` takes the page's files as they are now."""
    prepare = take_from_disk if from_disk else lambda _page: None
    out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = launch(playwright)
        for name, viewport, scheme in [
            ("live-page-light", DESKTOP, "light"),
            ("live-page-dark", DESKTOP, "dark"),
            ("live-page-phone", PHONE, "light"),
        ]:
            visit = Visit(browser, admin, prepare, viewport=viewport, color_scheme=scheme)
            visit.page.wait_for_timeout(1500)
            visit.page.screenshot(path=out / f"{name}.png", full_page=True, animations="disabled")
            if name.endswith("light"):
                visit.page.click("#open-set")
                visit.page.fill("#set-value", "100")
                visit.page.screenshot(path=out / "live-page-dialog.png", animations="disabled")
            visit.close()
        browser.close()
    for picture in out.glob("live-page-*.png"):
        with Image.open(picture) as image:
            small = image.convert("RGB").quantize(256, kmeans=4, dither=Image.Dither.NONE)
            small.save(picture, optimize=True)
        print(f"{picture}: {picture.stat().st_size // 1024} KiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=16.0, help="how long the story takes")
    parser.add_argument("--out", type=Path, help="where the pictures go")
    parser.add_argument("--serve", action="store_true", help="go on until interrupted")
    parser.add_argument("--of", help="only take pictures, of what runs at this admin address")
    arguments = parser.parse_args()
    if arguments.of:
        take_pictures(arguments.of, arguments.out, from_disk=True)
        return
    if arguments.out:
        arguments.out = arguments.out.resolve()
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "build", prefix="gallery-") as directory, contextlib.chdir(ROOT):
        # a relative path: the page shows it, and the pictures shall say nothing of this machine
        scene = Scene(Path(directory).relative_to(ROOT), beat=60.0 * arguments.minutes / 15.5)
        print(f"http://{scene.sidecar.admin}/", flush=True)
        try:
            for beats, what in scene.steps():
                print(what, flush=True)
                threading.Event().wait(beats * scene.beat)
            if arguments.out:
                take_pictures(scene.sidecar.admin, arguments.out)
            if arguments.serve:
                threading.Event().wait()
        finally:
            scene.stop()


if __name__ == "__main__":
    main()
