"""`cutover demo` from start to end: gallery, sidecar, story, summary, and everything removed again."""

import asyncio
import json
import re
import signal
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import uvloop
from rich.console import Console

from proxy.demo.data import move_data
from proxy.demo.display import open_display
from proxy.demo.gallery import Gallery, GalleryOptions
from proxy.demo.load import DEFAULT_RATE
from proxy.demo.processes import StartError
from proxy.demo.report import added_latency_note, print_report
from proxy.demo.rollout import PLAN_NOTE, Rollout, hold_of
from proxy.demo.sidecar import BREAKER_OPEN_FOR, TARGET_TIMEOUT, Sidecar, SidecarError
from proxy.demo.story import Story, World
from proxy.demo.summary import Summary

LINGER_RATE: Final = 20.0
_INTERRUPTED: Final = 130
_LOG_WIDTH: Final = 120


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the command line asked for; `json_to` is a path or `-`."""

    gallery: GalleryOptions
    rate: float = DEFAULT_RATE
    duration_scale: float = 1.0
    keep: bool = False
    json_to: str | None = None
    journal: Path | None = None
    report: Path | None = None


def run_demo(options: DemoOptions) -> int:
    """Run the demo and return its exit status: 0 passed, 1 failed, 130 interrupted before the end."""
    # With the summary on standard output, people read the rest on standard error.
    console = Console(stderr=options.json_to == "-")
    if not console.is_terminal:
        console = Console(stderr=options.json_to == "-", width=_LOG_WIDTH)
    demo = _Demo(options, console)
    try:
        return uvloop.run(demo.run())
    except StartError as exc:
        print(f"cutover demo: {exc}", file=sys.stderr)
        return 1
    except asyncio.CancelledError:
        if demo.summary is None:
            print("cutover demo: interrupted; everything was stopped and removed", file=sys.stderr)
            return _INTERRUPTED
        return 0 if demo.summary.passed else 1


class _Demo:
    def __init__(self, options: DemoOptions, console: Console) -> None:
        self._options = options
        self._console = console
        self._task: asyncio.Task[int] | None = None
        self.summary: Summary | None = None

    async def run(self) -> int:
        self._task = asyncio.current_task()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._interrupt)
        async with AsyncExitStack() as stack:
            return await self._run(stack)

    def _interrupt(self) -> None:
        # Once only: an impatient second Ctrl-C must not interrupt the cleaning up.
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self, stack: AsyncExitStack) -> int:
        clock = asyncio.get_running_loop().time
        began_s = clock()
        self._say("Starting PostgreSQL, DynamoDB (moto), the legacy API and the Image Service …")
        gallery = await stack.enter_async_context(Gallery(self._options.gallery))
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)))
        sidecar = Sidecar(gallery, session)
        await sidecar.start(stack)
        content = gallery.content
        await move_data(gallery, self._say)
        self._say(
            f"Ready after {clock() - began_s:.1f} s: {len(content.images)} images of {len(content.users)} users "
            f"in both sources, the sidecar on {sidecar.url}."
        )
        self._say(added_latency_note(gallery.options.latency_factor))
        self._say(PLAN_NOTE)
        self._say(
            f"For a short demo, the sidecar gives the Image Service {TARGET_TIMEOUT} to answer and its circuit "
            f"breaker tries again after {BREAKER_OPEN_FOR}; PostgreSQL runs without fsync."
        )
        heading = f" cutover demo · {len(content.users)} users · {self._options.rate:g} requests/s "
        with open_display(self._console, heading) as display:
            rollout = Rollout(gallery.work_dir, self._options.journal or gallery.work_dir / "rollout.db", stack)
            hold_s = hold_of(self._options.duration_scale, self._options.rate)
            story = Story(World(gallery, sidecar, rollout, display), self._options.rate, hold_s)
            try:
                summary = await story.play()
            except* (SidecarError, StartError) as group:
                raise StartError(f"the rollout stopped: {group.exceptions[0]}") from None
        self.summary = summary
        print_report(self._console, summary)
        self._write_json(summary)
        if self._options.report is not None:
            said = await rollout.report(self._options.report)
            self._console.print("", said, sep="\n", markup=False, highlight=False, soft_wrap=True)
        if self._options.keep:
            self._print_urls(gallery, sidecar, rollout)
            await story.linger(LINGER_RATE)
        return 0 if summary.passed else 1

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)

    def _write_json(self, summary: Summary) -> None:
        if self._options.json_to is None:
            return
        text = json.dumps(summary.as_json(), indent=2, ensure_ascii=False)
        if self._options.json_to == "-":
            print(text)
        else:
            Path(self._options.json_to).write_text(text + "\n")

    def _print_urls(self, gallery: Gallery, sidecar: Sidecar, rollout: Rollout) -> None:
        user, image = next((i.user_id, i.id) for i in gallery.content.images if i.user_id.isascii())
        json_type = "-H 'Content-Type: application/json'"
        percentage = '{"percentage": 50, "enabled": true}'
        token = f'-H "Authorization: Bearer $(cat {gallery.token_file})"'
        faults = '{"error_ratio": 0.3}'
        lines = [
            "",
            f"Left running at 100 %, with {LINGER_RATE:g} requests/s. Ctrl-C ends and removes everything.",
            f"  the gallery, through the sidecar   {sidecar.url}",
            f"  the sidecar's live page and API    {sidecar.admin_url}",
            f"  the rollout's journal              {rollout.journal}",
            f"  the legacy API                     {gallery.legacy_url}",
            f"  the Image Service                  {gallery.image_service_url}   (token: {gallery.token_file})",
            f"  PostgreSQL                         {mask_password(gallery.postgres_url)}   (schema {gallery.schema})",
            f"  DynamoDB                           {gallery.dynamodb_endpoint}   (table {gallery.table})",
            "",
            "Try: ask for an image as its user; move half of the users; let the Image Service fail now and then:",
            f"  curl -i -H 'X-User-Id: {user}' {sidecar.url}/images/{image}",
            f"  curl -X PATCH {json_type} -d '{percentage}' {sidecar.admin_url}/rollout",
            f"  curl -X PUT {token} -d '{faults}' {gallery.image_service_url}/internal/faults",
            f"  cutover rollout status --journal {rollout.journal}",
            f"  curl -s {sidecar.admin_url}/status        (rates, p95 and fallbacks of both sources)",
            f"  tail -f {sidecar.log_file}        (requests that fell back, and events)",
            "Undo the faults with -d '{}', and POST to /rollback to send everybody back.",
        ]
        self._console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def mask_password(url: str) -> str:
    """Return a database URL fit to be shown."""
    return re.sub(r"(://[^/@:]*):[^/@]*@", r"\1:***@", url)
