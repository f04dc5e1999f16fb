"""The staged rollout on the live page: a real controller beside a real sidecar, and people who click."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.rollout.journal import Journal, Kind
from proxy.settings.edit import edit_rollout
from tests.e2e.sidecar import Sidecar, command, config, eventually, write_config
from tests.page.browsing import PHONE, Visit

TOKEN = "s3cret-of-the-admin-port"
HOSTILE = "<img src=x onerror=\"console.error('ran')\"><script>console.error('ran')</script>\u202e"
AUDIT = Path(__file__).with_name("audit.js").read_text()


@pytest.fixture(scope="module")
def sidecar(lasting) -> Sidecar:
    start_server, start_sidecar = lasting
    settings = config(start_server("legacy").url, start_server("target").url, rollout={"enabled": False})
    return start_sidecar({**settings, "admin": {"listen": "127.0.0.1:0", "token": TOKEN}})


@pytest.fixture
def visit(browser):
    opened: list[Visit] = []

    def open_page(admin: str, **context: Any) -> Visit:
        opened.append(Visit(browser, admin, **context))
        return opened[-1]

    yield open_page
    for one in opened:
        one.close()


PLAN = {
    "stages": [
        {"percentage": 10, "hold": "900ms", "approval": True},
        {"percentage": 50, "hold": "60s"},
        {"percentage": 100, "hold": "60s"},
    ],
    "interval": "300ms",
    "settle": "300ms",
    "window": "900ms",
    "checks": [
        {"name": "complaints", "manual": True, "below": 1},
        {"name": "get p95", "operation": "get", "quantile": 0.95, "below": "50ms", "required": False},
    ],
}


@contextmanager
def running(sidecar: Sidecar, directory: Path, **changes: Any) -> Iterator[Path]:
    """A controller with a plan for this sidecar; gives its journal."""
    edit_rollout(sidecar.file, {}, percentage=0, enabled=False)
    journal = directory / "rollout.db"
    places = {"observe": {"sidecars": [f"http://{sidecar.admin}"]}, "apply": {"file": str(sidecar.file)}}
    plan = write_config(directory / "plan.yaml", {**PLAN, **places, "journal": str(journal), **changes})
    words = command("rollout", "start", str(plan), "--no-owner", "--no-rehearsal")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield journal
        finally:
            process.kill()
            process.communicate()


def note_no_complaints(journal: Path) -> None:
    with Journal(journal, create=False) as opened:
        opened.add(Kind.NOTE, 0, {"text": "none", "check": "complaints", "value": 0})


def order(opened: Visit, word: str, *, token: str | None = None, answer: str = "") -> None:
    """Click the button, then the one in the dialog; the token when it is asked for."""
    opened.page.click(f"#open-{word}")
    opened.page.click("#order .confirm")
    if token is not None:
        opened.wait_for_text("#order .trouble", "This needs the admin token")
        opened.page.keyboard.type(token)
        opened.page.keyboard.press("Enter")
    if answer:
        opened.wait_for_text("#outcome", answer)


def test_people_see_the_rollout_and_steer_it_from_the_page(sidecar, visit, tmp_path):
    with running(sidecar, tmp_path) as journal:
        opened = visit(sidecar.admin)
        page = opened.page
        page.wait_for_selector("#staged:not([hidden])")
        opened.wait_for_text("#checks", "nobody has said yet")
        assert page.locator("#stages li").all_inner_texts() == ["10 % now", "50 % to come", "100 % to come"]
        assert "not required" in opened.text('[data-check="get p95"]')
        assert opened.text("#staged-verdict") == "HOLD"
        order(opened, "pause", token=TOKEN, answer="paused at 10 %")
        opened.wait_for_text("#staged-phase", "Paused")
        assert page.is_disabled("#open-promote")
        order(opened, "resume", answer="resumed")
        note_no_complaints(journal)
        opened.wait_for_text("#staged-phase", "Waiting for approval")
        order(opened, "promote", answer="promoted by hand")
        opened.wait_for_text("#stages .here", "50 %")
        eventually(lambda: sidecar.ask_admin("GET", "/status").json()["percentage"] == 50)
        page.click("#open-rollback")
        opened.wait_for_text("#rollback .plan", "The staged rollout that runs stops for good")
        page.keyboard.press("Escape")
        order(opened, "abort", answer="aborted")
        opened.wait_for_text("#staged-phase", "Aborted")
        opened.wait_for_text("#staged-note", "It has ended")
        assert page.is_hidden("#open-abort")
        status = sidecar.ask_admin("GET", "/status").json()
        assert (status["percentage"], status["enabled"]) == (0, False)
        with Journal(journal) as read:
            orders = [entry.data for entry in read.entries(Kind.ORDER)]
        assert [one["order"] for one in orders] == ["pause", "resume", "promote", "abort"]
        assert all("the live page of" in one["from"] for one in orders)


def test_an_override_is_given_with_its_reason_and_a_refusal_is_said(sidecar, visit, tmp_path):
    with running(sidecar, tmp_path) as journal:
        opened = visit(sidecar.admin)
        page = opened.page
        opened.wait_for_text("#staged-phase", "Judging")  # not what the rollout before this one left on the page
        opened.wait_for_text("#checks", "nobody has said yet")
        page.click("#open-promote")
        page.select_option("#order-check", "complaints")
        page.click("#order .confirm")
        assert page.is_visible("#order"), "a reason is required"
        page.fill("#order-reason", "support is closed today")
        opened.wait_for_text("#order .plan", "complaints counts as GO for this stage")
        page.click("#order .confirm")
        opened.wait_for_text("#order .trouble", "This needs the admin token")
        page.keyboard.type(TOKEN)
        page.keyboard.press("Enter")
        opened.wait_for_text("#stages .here", "50 %")
        with Journal(journal) as read:
            [given] = [entry.data for entry in read.entries(Kind.ORDER)]
        assert (given["check"], given["reason"], given["stage"]) == ("complaints", "support is closed today", 1)
        page.click("#open-abort")
        page.check("#order-keep")
        opened.wait_for_text("#order .plan", "50 % stays in force")
        page.click("#order .confirm")
        opened.wait_for_text("#outcome", "left as it is")
    assert sidecar.ask_admin("GET", "/status").json()["percentage"] == 50


def publication(**changes: Any) -> dict[str, Any]:
    status = {"phase": "judging", "stage": 1, "percentage": 10, "verdict": "HOLD", "checks": [], "why": "x"}
    status |= {"stages": [10, 50], "held_s": 30, "hold_s": 60, "overrides": {}, "plan": "plan.yaml", "run": 1}
    return {"controller": "c" * 16, "status": {**status, **changes}, "answers": {}, "ended": False}


@pytest.fixture
def alone(lasting) -> Sidecar:
    """A sidecar of its own, for a controller that is played."""
    start_server, start_sidecar = lasting
    settings = config(start_server("legacy").url, start_server("target").url, rollout={"enabled": False})
    return start_sidecar(settings)


def publish(sidecar: Sidecar, said: dict[str, Any]) -> list[dict[str, Any]]:
    answer = sidecar.ask_admin("PUT", "/rollout/controller", said)
    assert answer.status == 200, answer.body
    return answer.json()["orders"]


def test_a_controller_that_is_gone_and_strings_from_anywhere_are_shown_as_what_they_are(alone, visit):
    check = {"name": HOSTILE, "verdict": HOSTILE, "why": HOSTILE, "samples": "many", "needed": None, "required": 1}
    publish(alone, publication(why=HOSTILE, plan=HOSTILE, checks=[check, {}], overrides={HOSTILE: HOSTILE}))
    opened = visit(alone.admin, prepare=lambda page: page.clock.install())
    page = opened.page
    opened.wait_for_text("#staged-why", "<img")
    assert page.locator("#staged img, #staged script").count() == 0
    assert page.is_enabled("#open-pause")
    page.click("#open-promote")
    assert page.locator("#order img").count() == 0
    page.keyboard.press("Escape")
    page.clock.fast_forward(12_000)
    opened.wait_for_text("#staged-note", "The controller was not heard for")
    assert page.is_disabled("#open-pause")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_everybody(alone, visit, scheme):
    checks = [
        {"name": f"check number {number}", "verdict": verdict, "why": "99.2 % of 4000 within 50ms (must be 95 %)"}
        | {"samples": 4000, "needed": 120, "eta_s": 80, "required": number != 1}
        for number, verdict in enumerate(("GO", "HOLD", "NO_GO"))
    ]
    publish(alone, publication(checks=checks))
    opened = visit(alone.admin, viewport=PHONE, color_scheme=scheme)
    page = opened.page
    page.wait_for_selector("#checks tbody tr")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.evaluate(AUDIT) == []
    page.click("#open-promote")
    box = page.locator("#order").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= PHONE["width"]
    assert page.evaluate(AUDIT) == []
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "open-promote"


def test_without_a_rollout_there_is_nothing_of_it(lasting, visit, browser):
    start_server, start_sidecar = lasting
    plain = start_sidecar(config(start_server("legacy").url, start_server("target").url))
    opened = visit(plain.admin)
    assert opened.page.is_hidden("#staged")
    assert plain.ask_admin("GET", "/rollout/controller").status == 404
    assert json.loads(plain.ask_admin("POST", "/rollout/orders", {"order": "pause"}).body)["detail"].startswith(
        "no con"
    )
