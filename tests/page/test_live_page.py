"""The live page in a real browser, at a real sidecar: what it shows is so, and what it does is what it said."""

import contextlib
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.sidecar import Sidecar, config, eventually, write_config
from tests.page.browsing import PHONE, Visit

TOKEN = "s3cret-of-the-admin-port"
HOSTILE = "<img src=x onerror=\"console.error('ran')\"><script>console.error('ran')</script>&amp;\u202e</p>"
FOCUSED = "document.activeElement.id || document.activeElement.className"


@dataclass
class Place:
    """A sidecar with 10 %, which each test may change."""

    sidecar: Sidecar
    settings: dict[str, Any]

    @property
    def admin(self) -> str:
        return self.sidecar.admin

    def status(self) -> dict[str, Any]:
        return self.sidecar.ask_admin("GET", "/status").json()

    def reset(self) -> None:
        status = self.status()
        told = (status["percentage"], status["enabled"], status["override"], status["last_reload"]["error"])
        if told == (10, True, None, None):
            return
        write_config(self.sidecar.file, self.settings)
        answer = self.sidecar.ask_admin("PATCH", "/rollout", {"percentage": 10, "enabled": True})
        assert answer.status == 200, answer.body
        assert self.status()["override"] is None

    def ask(self, user: str, method: str = "GET", path: str = "/images/1", does: str = "answer") -> None:
        fields = {"X-User-Id": user, "X-Target-Does": does}
        assert self.sidecar.ask(method, path, fields).status < 600


@pytest.fixture(scope="module")
def sources(lasting) -> dict[str, Any]:
    start_server, _ = lasting
    listed = {"target": ["moved-1", "moved-2"], "legacy": ["kept-1"]}
    return config(
        start_server("legacy").url,
        start_server("target").url,
        rollout={"percentage": 10, "enabled": True, "users": listed},
    )


@pytest.fixture(scope="module")
def shared_place(lasting, sources) -> Place:
    return Place(lasting[1](sources), sources)


@pytest.fixture
def place(shared_place) -> Iterator[Place]:
    yield shared_place
    shared_place.reset()


@pytest.fixture(scope="module")
def guarded(lasting, sources) -> Place:
    settings = {**sources, "admin": {"listen": "127.0.0.1:0", "token": TOKEN}}
    return Place(lasting[1](settings), settings)


@pytest.fixture
def visit(browser):
    """Opens pages; at the end, nothing may have gone wrong in any of them."""
    with contextlib.ExitStack() as stack:

        def open_page(place: Place, prepare=lambda _page: None, **context) -> Visit:
            opened = Visit(browser, place.admin, prepare, **context)
            stack.callback(opened.close)
            return opened

        yield open_page


def as_ms(value: float) -> str:
    return f"{value:.1f} ms" if value < 9.95 else f"{value:.0f} ms"


def shown_as(figures: dict[str, Any]) -> dict[str, str]:
    """How the page writes the figures of one source and operation."""
    shown = {"requests": str(figures["requests"]), "rate": f"{figures['rate']:.1f}"}
    if not figures["requests"]:
        return {**shown, **dict.fromkeys(("error_ratio", "p50_ms", "p95_ms", "p99_ms"), "\u2013")}
    percent = figures["error_ratio"] * 100
    shown["error_ratio"] = "0 %" if not percent else f"{percent:.2f} %" if percent < 9.995 else f"{percent:.1f} %"
    if percent >= 99.95:
        shown["error_ratio"] = f"{percent:.0f} %"
    return {**shown, **{name: as_ms(figures[name]) for name in ("p50_ms", "p95_ms", "p99_ms")}}


# what it shows


def test_what_is_shown_is_what_status_says(place, visit):
    for number in range(30):
        place.ask("moved-1")
        place.ask(f"u{number}")
        place.ask(f"u{number}", path="/images")
    for _ in range(3):
        place.ask("moved-2", does="status:503")
    opened = visit(place)
    page = opened.page
    page.check('[name="window"][value="5m"]')

    def compare() -> bool:
        status = place.status()
        page.wait_for_timeout(1100)  # the page has this or a later one
        names = status["roles"]
        for operation in ("get", "list"):
            for role in ("legacy", "target"):
                row = page.locator(f'article[aria-label="{operation}"] tr.{role}')
                wanted = shown_as(status["sources"][names[role]][operation]["5m"])
                seen = {name: row.locator(f"td.{name}").inner_text() for name in wanted}
                # The rate falls as time goes by.
                assert abs(float(seen.pop("rate")) - float(wanted.pop("rate"))) < 0.5
                assert seen == wanted, (operation, role)
        assert opened.text("#percentage") == f"{status['percentage']} %"
        return True

    assert eventually(compare)
    status = place.status()
    assert "In: users in buckets 0\u20139" in opened.text("#who")
    assert "Out: users in buckets 10\u201399" in opened.text("#who")
    assert "Always: 2 listed users → image_service" in opened.text("#who").replace("\n", " ")
    assert "Always: 1 listed user → postgresql" in opened.text("#who").replace("\n", " ")
    facts = opened.text("#facts")
    for words in ("Enabled\nyes", "Kill switch\noff", f"Circuit breaker\n{status['breaker']}", "Override\nnone"):
        assert words in facts
    assert status["revision"] in facts
    row = page.locator('#fallbacks tr[data-reason="status_503"]')
    assert row.locator("td").all_inner_texts() == ["get", "3", "3"]
    [worker] = status["workers"]
    assert str(worker["pid"]) in opened.text("#workers")
    assert worker["revision"] in opened.text("#workers")
    assert "other" in opened.text("#idle")
    assert page.title().endswith("10 % · cutover")


def test_charts_have_lines_and_say_what_they_show(place, visit):
    place.ask("moved-1")
    opened = visit(place)
    chart = opened.page.locator('article[aria-label="get"] .chart svg[role="img"]').first
    opened.page.wait_for_function(
        "() => document.querySelector('article[aria-label=get] path.line.target')?.getAttribute('d')"
    )
    assert "image_service now" in chart.get_attribute("aria-label")
    lines = opened.page.evaluate(
        "[...document.querySelectorAll('article[aria-label=get] .chart:first-child .line')]"
        ".map((line) => getComputedStyle(line).strokeDasharray)"
    )
    assert len(set(lines)) == 2, "the sources differ by more than colour"


def test_a_change_made_elsewhere_is_seen_and_remembered(place, visit):
    opened = visit(place)
    assert place.sidecar.ask_admin("PATCH", "/rollout?persist=false", {"percentage": 25}).status == 200
    opened.wait_for_text("#percentage", "25 %")
    opened.wait_for_text("#events", "10 % → 25 %, as an override by api")
    opened.wait_for_text("#facts", "25 %, enabled, by api")
    opened.wait_for_text("#attention", "An override stands above the configuration file")


def test_a_rejected_configuration_is_shown_and_its_words_are_inert(place, visit):
    opened = visit(place)
    good = place.sidecar.file.read_text()
    place.sidecar.file.write_text(good + json.dumps(HOSTILE) + ": 1\n")
    opened.wait_for_text("#attention", "The configuration file was rejected")
    told = place.status()["last_reload"]["error"]
    assert "<img" in told
    opened.wait_for_text("#config-error", "<img")
    assert opened.page.text_content("#config-error") == told
    opened.wait_for_text("#events", "Configuration rejected")
    assert opened.page.locator("img, main script").count() == 0
    place.sidecar.file.write_text(good)
    opened.page.wait_for_selector("#config-error", state="hidden")
    assert "rejected" not in opened.text("#attention")


# explain


def test_explain_says_what_the_api_says_and_takes_any_user_id_for_text(place, visit):
    opened = visit(place)
    page = opened.page
    for user in ("moved-1", HOSTILE, "\u00fcn\u00ef \u00a9 ", ""):
        page.fill("#explain-user", user)
        page.press("#explain-user", "Enter")
        opened.wait_for_text("#explained .user", user or "No user id")
        asked = page.evaluate("user => fetch('explain?' + new URLSearchParams({user})).then((a) => a.json())", user)
        assert page.text_content("#explained .user") == (user or "No user id")
        assert asked["source"] in opened.text("#explained .verdict")
        assert f"Bucket\n{asked['bucket'] if user else 'none'}" in opened.text("#explained")
        assert page.locator("img, main script").count() == 0


def test_explain_says_what_is_wrong(place, visit):
    opened = visit(place)
    opened.page.fill('#explain [name="path"]', "no-slash")
    opened.page.click("#explain button")
    opened.wait_for_text("#explained", "path must start with /")


# changes


def test_the_percentage_is_set_with_the_keyboard_alone(place, visit):
    opened = visit(place)
    page = opened.page
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate(FOCUSED) == "open-set":
            break
    page.keyboard.press("Enter")
    assert page.evaluate(FOCUSED) == "set-value"
    page.keyboard.type("35")
    plan = opened.text("#set .plan")
    assert "Percentage: 10 % → 35 %" in plan
    assert "Users in buckets 10\u201334 move from postgresql to image_service; all others stay where they are" in plan
    assert "Written to the configuration file" in plan
    assert opened.text("#set .confirm") == "Set 35 %"
    assert place.status()["percentage"] == 10
    page.keyboard.press("Enter")
    opened.wait_for_text("#outcome", "35 %, enabled, in the file")
    assert place.status()["percentage"] == 35
    assert "percentage: 35" in place.sidecar.file.read_text()
    assert page.evaluate(FOCUSED) == "open-set"
    opened.wait_for_text("#percentage", "35 %")


def test_an_override_can_be_made_and_enabled_changed(place, visit):
    opened = visit(place)
    page = opened.page
    page.click("#open-set")
    page.click('#set [data-value="50"]')
    page.uncheck("#set-enabled")
    page.check('#set [name="persist"][value="false"]')
    plan = opened.text("#set .plan")
    assert "Enabled: yes → no" in plan
    assert "Users in buckets 0\u20139 move from image_service to postgresql" in plan
    assert "an override" in plan
    page.click("#set .confirm")
    opened.wait_for_text("#outcome", "50 %, not enabled, as an override")
    status = place.status()
    assert (status["percentage"], status["enabled"]) == (50, False)
    assert "percentage: 10" in place.sidecar.file.read_text()
    opened.wait_for_text("#percentage-of", "0 % in force")
    opened.wait_for_text("#attention", "Enabled is no, so the percentage moves nobody")


def test_what_is_no_change_or_no_percentage_cannot_be_sent(place, visit):
    opened = visit(place)
    opened.page.click("#open-set")
    for value in ("101", "-1", "1.5", "", "10"):
        opened.page.fill("#set-value", value)
        assert opened.page.is_disabled("#set .confirm"), value
        opened.page.press("#set-value", "Enter")
        assert opened.page.is_visible("#set")
    assert place.status()["percentage"] == 10


def test_a_rollback_needs_a_confirmation(place, visit):
    opened = visit(place)
    page = opened.page
    for end in ("#rollback .cancel", None):
        page.click("#open-rollback")
        assert page.evaluate(FOCUSED) == "cancel"
        page.click(end) if end else page.keyboard.press("Escape")
        page.wait_for_selector("#rollback", state="hidden")
        assert page.evaluate(FOCUSED) == "open-rollback"
    assert place.status()["percentage"] == 10
    page.click("#open-rollback")
    plan = opened.text("#rollback .plan")
    assert "Percentage: 10 % → 0 %" in plan
    assert "Enabled: yes → no" in plan
    assert "Users in buckets 0\u20139 move from image_service to postgresql" in plan
    page.click("#rollback .confirm")
    opened.wait_for_text("#outcome", "0 %, not enabled, in the file")
    status = place.status()
    assert (status["percentage"], status["enabled"]) == (0, False)
    opened.wait_for_text("#percentage", "0 %")


def test_what_came_into_force_meanwhile_is_said_before_anything_is_sent(place, visit):
    opened = visit(place)
    page = opened.page
    page.click("#open-set")
    page.fill("#set-value", "60")
    assert place.sidecar.ask_admin("PATCH", "/rollout?persist=false", {"percentage": 20}).status == 200
    opened.wait_for_text("#set .trouble", "Meanwhile 20 %, enabled")
    assert page.is_disabled("#set .confirm")
    page.click("#set .again")
    assert "Percentage: 20 % → 60 %" in opened.text("#set .plan")
    page.click("#set .confirm")
    opened.wait_for_text("#outcome", "60 %")
    assert place.status()["percentage"] == 60


def test_a_page_that_is_behind_changes_nothing(place, visit):
    opened = visit(place)
    page = opened.page
    page.route("**/rollout?*", lambda route: route.continue_(headers={**route.request.headers, "if-match": '"0000"'}))
    page.click("#open-set")
    page.fill("#set-value", "70")
    page.click("#set .confirm")
    opened.wait_for_text(
        "#set .trouble", f"This page was behind: the revision in force is {place.status()['revision']}"
    )
    assert page.is_disabled("#set .confirm")
    assert page.is_visible("#set .again")
    assert place.status()["percentage"] == 10


def test_the_token_is_asked_for_when_it_is_needed_and_stored_nowhere(guarded, visit):
    opened = visit(guarded)
    page = opened.page
    page.click("#open-set")
    page.fill("#set-value", "40")
    assert page.is_hidden("#set .token")
    page.click("#set .confirm")
    opened.wait_for_text("#set .trouble", "This needs the admin token")
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    opened.wait_for_text("#set .trouble", "This token was not accepted")
    assert guarded.status()["percentage"] == 10
    page.keyboard.type(TOKEN)
    page.keyboard.press("Enter")
    opened.wait_for_text("#outcome", "40 %, enabled, in the file")
    assert guarded.status()["percentage"] == 40
    page.click("#open-rollback")
    page.click("#rollback .confirm")
    opened.wait_for_text("#outcome", "0 %, not enabled, in the file")
    assert guarded.status()["percentage"] == 0
    assert opened.context.storage_state() == {"cookies": [], "origins": []}
    assert TOKEN not in page.content()
    assert page.evaluate("[...document.querySelectorAll('input')].map((input) => input.value).join()").count(TOKEN) == 0
    page.reload()
    opened.wait_for_text("#percentage", "0 %")
    page.click("#open-set")
    page.fill("#set-value", "5")
    page.click("#set .confirm")
    opened.wait_for_text("#set .trouble", "This needs the admin token")


# the connection


def test_a_lost_connection_is_said_and_made_again(lasting, sources, visit, tmp_path):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    settings = {**sources, "admin": {"listen": f"127.0.0.1:{port}"}}
    file = write_config(tmp_path / "cutover.yaml", settings)
    first = Sidecar(file)
    try:
        opened = visit(Place(first, settings))
        assert opened.text("#lost") == ""
        first.stop()
        opened.wait_for_text("#lost", "Not connected since")
        assert "cutover has ended or is being restarted" in opened.text("#lost")
        assert opened.text("#link-text") == "Not connected"
        assert opened.page.is_visible("#operations")
    finally:
        first.stop()
    second = Sidecar(file)
    try:
        opened.page.wait_for_selector('#link[data-state="live"]')
        assert opened.text("#lost") == ""
        opened.wait_for_text("#workers", str(second.workers()[0]))  # connected is not yet told everything
    finally:
        second.stop()


def tell(frames: list[tuple[str, Any]]):
    """Makes the stream say this, and end."""
    body = "".join(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in frames)

    def prepare(page: Any) -> None:
        page.route("**/events", lambda route: route.fulfill(body=body, content_type="text/event-stream"))

    return prepare


def test_whatever_a_status_holds_is_text(place, visit):
    figures = {"requests": 50, "rate": 1, "error_ratio": 1, "p95_ms": 99, "fallbacks": {HOSTILE: 9, "__proto__": 1}}
    windows = {"1m": figures, "5m": figures}
    status = {
        **place.status(),
        "roles": {"legacy": HOSTILE, "target": f"{HOSTILE}2"},
        "sources": {f"{HOSTILE}2": {HOSTILE: windows, "constructor": windows}},
        "revision": HOSTILE,
        "version": HOSTILE,
        "breaker": HOSTILE,
        "override": {"percentage": HOSTILE, "enabled": True, "origin": HOSTILE, "at": "x"},
        "workers": [{"worker": HOSTILE, "pid": HOSTILE, "revision": HOSTILE, "state": None}, None],
        "last_reload": {"result": "rejected", "error": HOSTILE, "at": None},
    }
    event = {"id": 1, "at": 1.7e9, "kind": HOSTILE, "level": HOSTILE, "text": HOSTILE}
    opened = visit(place, tell([("status", {"at": 1.7e9, "status": status}), ("notables", [event])]))
    opened.wait_for_text("#events", "<img")
    assert opened.page.locator("#operations article").count() == 2
    assert opened.page.locator("img, main script").count() == 0
    assert opened.page.evaluate("({}).polluted") is None


def test_a_rollout_plan_is_shown_when_there_is_one_only(place, visit):
    assert "Rollout plan" not in visit(place).text("#facts")
    status = {**place.status(), "rollout": {"phase": "judging", "stage": 2, "verdict": "HOLD"}}
    opened = visit(place, tell([("status", {"at": 1.7e9, "status": status})]))
    assert "Rollout plan\nstage 2, judging, HOLD" in opened.text("#facts")


def test_a_status_with_nothing_in_it_is_no_error(place, visit):
    opened = visit(place, tell([("status", {"at": 1.7e9, "status": {}})]))
    assert opened.text("#percentage") == "?"


# for everybody


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_in_both_schemes(place, visit, scheme):
    place.ask("moved-1")
    opened = visit(place, viewport=PHONE, color_scheme=scheme)
    opened.page.wait_for_selector("article")
    ground = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(243, 244, 246)", "dark": "rgb(14, 17, 21)"}[scheme]
    for opener, dialog in ((None, None), ("#open-set", "#set"), ("#open-rollback", "#rollback")):
        if opener:
            opened.page.click(opener)
            box = opened.page.locator(dialog).bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= PHONE["width"]
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        if opener:
            opened.page.keyboard.press("Escape")
    tall = "[...document.querySelectorAll('button')].filter((b) => b.offsetParent && b.offsetHeight < 24).length"
    assert opened.page.evaluate(tall) == 0


def test_those_who_want_no_motion_get_none(place, visit):
    opened = visit(place, reduced_motion="reduce")
    moving = "[...document.querySelectorAll('*')].filter((e) => getComputedStyle(e).transitionDuration !== '0s').length"
    assert opened.page.evaluate(moving) == 0


def test_everything_has_a_name_a_place_and_an_order(place, visit):
    place.ask("moved-1", does="status:503")
    opened = visit(place)
    page = opened.page
    page.wait_for_selector("article")
    found = page.evaluate(Path(__file__).with_name("audit.js").read_text())
    assert found == []
    assert page.get_attribute("html", "lang") == "en"
    assert page.locator("main").count() == page.locator("h1").count() == 1
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # skip to the sources
    assert page.evaluate(FOCUSED) == "sources-title"
    for dialog in ("set", "rollback"):
        page.click(f"#open-{dialog}")
        for _ in range(14):  # around: the rest of the page can't be reached
            page.keyboard.press("Tab")
            inside = f"document.activeElement === document.body || !!document.activeElement.closest('#{dialog}')"
            assert page.evaluate(inside)
        assert page.evaluate(Path(__file__).with_name("audit.js").read_text()) == []
        page.keyboard.press("Escape")
    live = page.evaluate("document.querySelectorAll('[role=status], [role=alert], [aria-live], output').length")
    assert live <= 13, "live regions are used sparingly"


def test_a_page_that_nobody_sees_gives_its_place_back(place, visit):
    asked: list[str] = []
    ended: list[str] = []

    def prepare(page: Any) -> None:
        page.clock.install()
        page.on("request", lambda request: asked.append(request.url))
        page.on("requestfailed", lambda request: ended.append(request.url))

    opened = visit(place, prepare)
    page = opened.page
    events = f"http://{place.admin}/events"
    show = "hidden => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});"
    show += " document.dispatchEvent(new Event('visibilitychange')); }"
    assert (asked.count(events), ended.count(events)) == (1, 0)
    page.evaluate(show, arg=True)
    page.clock.fast_forward(31_000)
    eventually(lambda: page.wait_for_timeout(50) or ended.count(events))
    page.evaluate(show, arg=False)
    eventually(lambda: page.wait_for_timeout(50) or asked.count(events) == 2)
    page.wait_for_selector('#link[data-state="live"]')
    assert (asked.count(events), ended.count(events)) == (2, 1)
