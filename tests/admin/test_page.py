"""The live page over HTTP: who gets it, what the browser is told to forbid, what may be kept."""

import re

import pytest
from aiohttp import web

from proxy.admin.api import build_admin_app
from proxy.admin.page import Assets, read_assets, wants_html

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


class QuietControl:
    """A proxy of which there is nothing to tell."""

    def __init__(self):
        self.token = None
        self.local = True
        self.statuses = 0
        self.current = {"revision": "0123456789ab", "percentage": 10, "enabled": True, "workers": [], "sources": {}}

    def ready(self):
        return True

    def revision(self):
        return "0123456789ab"

    async def status(self):
        self.statuses += 1
        if isinstance(self.current, Exception):
            raise self.current
        return dict(self.current)

    def admin_token(self):
        return self.token

    def listens_on_loopback_only(self):
        return self.local


@pytest.fixture
def control():
    return QuietControl()


@pytest.fixture
async def client(control, aiohttp_client):
    return await aiohttp_client(build_admin_app(control))


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        (BROWSER["Accept"], True),
        ("text/html", True),
        ("TEXT/HTML;level=1", True),
        ("text/html;q=0.5, text/plain;q=0.4", True),
        ("text/html, text/plain", True),
        ("", False),
        ("*/*", False),  # curl
        ("text/*", False),
        ("text/plain", False),
        ("text/plain, text/html;q=0.9", False),
        ("text/html;q=0", False),
        ("text/html;q=x", False),
        ("application/json", False),
        (";;,,=", False),
    ],
)
def test_html_is_for_those_who_ask_for_it(accept, html):
    assert wants_html(accept) is html


@pytest.mark.parametrize("method", ["get", "head"])
async def test_a_browser_gets_the_page_and_others_the_index(client, method):
    page = await getattr(client, method)("/", headers=BROWSER)
    assert (page.status, page.content_type, page.charset) == (200, "text/html", "utf-8")
    index = await getattr(client, method)("/")
    assert (index.status, index.content_type) == (200, "text/plain")
    assert page.headers["Vary"] == index.headers["Vary"] == "Accept"
    assert page.headers["Content-Length"] != index.headers["Content-Length"]


async def test_the_index_tells_of_the_page(client):
    text = await (await client.get("/")).text()
    assert "live page" in text
    assert "/events" in text


async def test_the_page_may_load_its_own_files_only_and_be_framed_by_nobody(client):
    response = await client.get("/", headers=BROWSER)
    policy = dict(part.split(" ", 1) for part in response.headers["Content-Security-Policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "img-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["X-Frame-Options"] == "DENY"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert response.headers["Server"] == "cutover"


async def test_the_page_is_asked_for_each_time_and_its_files_are_kept(client):
    page = await client.get("/", headers=BROWSER)
    assert page.headers["Cache-Control"] == "no-cache"
    addresses = re.findall(r'(?:href|src)="(static/[^"]+)"', await page.text())
    assert len(addresses) == 3
    for address in addresses:
        file = await client.get(f"/{address}")
        assert file.status == 200
        assert file.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert file.headers["X-Content-Type-Options"] == "nosniff"
        assert file.headers["Content-Security-Policy"] == page.headers["Content-Security-Policy"]
        assert len(await file.read()) == int(file.headers["Content-Length"])


@pytest.mark.parametrize("accept", [BROWSER["Accept"], "*/*"])
async def test_what_is_known_already_is_not_sent_again(client, accept):
    version = read_assets().version
    for path in ("/", f"/static/{version}/page.css") if "html" in accept else (f"/static/{version}/page.css",):
        for value in (f'"{version}"', f'W/"{version}"', f'"other", "{version}"', "*"):
            response = await client.get(path, headers={"Accept": accept, "If-None-Match": value})
            assert (response.status, await response.read()) == (304, b"")
            assert response.headers["ETag"] == f'"{version}"'
            assert "Cache-Control" in response.headers
        assert (await client.get(path, headers={"Accept": accept, "If-None-Match": '"other"'})).status == 200


@pytest.mark.parametrize(
    ("name", "content_type"),
    [("main.js", "text/javascript"), ("page.css", "text/css"), ("icon.svg", "image/svg+xml")],
)
async def test_each_file_has_its_type(client, name, content_type):
    response = await client.get(f"/static/{read_assets().version}/{name}")
    assert (response.content_type, response.charset) == (content_type, "utf-8")


@pytest.mark.parametrize(
    "path",
    [
        "/static/0000000000000000/main.js",
        "/static/@/none.js",
        "/static/@/index.html",
        "/static/@/",
        "/static/@/../page.py",
        "/static/@/..%2f..%2fapi.py",
        "/static/@/%2e%2e/api.py",
        "/static/@/main.js/",
    ],
)
async def test_nothing_else_is_served(client, path):
    response = await client.get(path.replace("@", read_assets().version))
    assert response.status == 404
    assert response.content_type == "application/problem+json"
    assert response.headers["Cache-Control"] == "no-store"


async def test_the_files_can_only_be_read(client):
    for path in ("/", f"/static/{read_assets().version}/main.js", "/events"):
        for method in ("post", "put", "delete", "patch"):
            assert (await getattr(client, method)(path)).status == 405


def test_the_version_follows_every_byte_and_name():
    first = Assets({"a.js": b"1", "b.js": b"2"})
    assert first.version == Assets({"b.js": b"2", "a.js": b"1"}).version
    others = [{"a.js": b"1", "b.js": b"3"}, {"a.js": b"1", "c.js": b"2"}, {"a.js": b"12", "b.js": b""}, {"a.js": b"1"}]
    assert len({first.version, *(Assets(files).version for files in others)}) == 5
    assert repr(first) == f"<Assets {first.version} 2 files>"


def test_there_is_nothing_inline_and_nothing_from_elsewhere():
    for name, body in read_assets().files.items():
        text = body.decode()
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text), name
        assert not re.search(r"(inner|outer|Adjacent)HTML|document\.write|\beval\(|new Function", text), name
        assert not re.search(r"localStorage|sessionStorage|document\.cookie|indexedDB", text), name
    page = read_assets().files["index.html"].decode()
    assert not re.search(r"\son\w+=|\sstyle=|<style|<script(?![^>]*\ssrc=)", page)


def test_every_module_that_is_imported_is_there():
    files = read_assets().files
    for name, body in files.items():
        for imported in re.findall(r'from "\./([^"]+)"', body.decode()):
            assert imported in files, name


async def test_a_status_that_fails_is_told_once_and_the_page_stays(control, aiohttp_client):
    told = []
    control.current = ValueError("no figures")
    client = await aiohttp_client(build_admin_app(control, lambda event, /, **fields: told.append((event, fields))))
    async with client.get("/events") as stream:
        await stream.content.readuntil(b"\n\n")
        await stream.content.readuntil(b"\n\n") if control.statuses > 2 else None
    assert (await client.get("/", headers=BROWSER)).status == 200
    assert told == [("live_page_failed", {"error": "ValueError('no figures')"})]


async def test_the_application_can_be_made_without_an_audit(control, aiohttp_client):
    app = build_admin_app(control)
    assert isinstance(app, web.Application)
    assert (await (await aiohttp_client(app)).get("/healthz")).status == 200
