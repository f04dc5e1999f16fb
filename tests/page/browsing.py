"""A headless browser, and a page of it that remembers whatever went wrong in it."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

_STATIC: Final = Path(__file__).resolve().parents[2] / "proxy" / "admin" / "static"
CHROMIUM: Final = "/usr/bin/chromium"
# The browser looks for nothing outside, and starts as root in a container as well.
_FLAGS: Final = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESKTOP: Final = {"width": 1440, "height": 900}
PHONE: Final = {"width": 360, "height": 740}
_NETWORK_ERROR: Final = "Failed to load resource"  # what a page can't keep the browser from noting


def launch(playwright: Any) -> Any:
    """Start the browser."""
    return playwright.chromium.launch(executable_path=CHROMIUM, args=_FLAGS)


def take_from_disk(page: Any) -> None:
    """Have the page's files as they are now in this tree, under the version that the program has."""

    def fulfill_page(route: Any) -> None:
        answer = route.fetch()
        version = answer.text().partition('name="assets" content="')[2].partition('"')[0]
        route.fulfill(response=answer, body=(_STATIC / "index.html").read_text().replace("@ASSETS@", version))

    page.route("**/static/*/*", lambda route: route.fulfill(path=_STATIC / Path(route.request.url).name))
    page.route(re.compile(r"http://[^/]+/$"), fulfill_page)


class Visit:
    """One page at an admin port, in a context of its own. `prepare` is given the page before it goes anywhere."""

    def __init__(
        self, browser: Any, admin: str, prepare: Callable[[Any], None] = lambda _page: None, **context: Any
    ) -> None:
        self.context = browser.new_context(viewport=context.pop("viewport", DESKTOP), **context)
        self.page = self.context.new_page()
        self.admin = admin
        self.complaints: list[str] = []
        self.refusals: list[str] = []
        self.elsewhere: list[str] = []
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("request", self._on_request)
        self.page.add_init_script(
            "addEventListener('securitypolicyviolation', e => console.error('CSP: ' + e.violatedDirective))"
        )
        prepare(self.page)
        self.page.goto(f"http://{admin}/")
        self.page.wait_for_selector("#main:not([hidden])")

    def _on_console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            kept = self.refusals if message.text.startswith(_NETWORK_ERROR) else self.complaints
            kept.append(f"{message.type}: {message.text}")

    def _on_request(self, request: Any) -> None:
        if urlsplit(request.url).netloc != self.admin:
            self.elsewhere.append(request.url)

    def text(self, selector: str) -> str:
        return str(self.page.inner_text(selector))

    def wait_for_text(self, selector: str, words: str) -> None:
        """Until an element's text contains the words."""
        self.page.wait_for_function(
            "([selector, words]) => document.querySelector(selector)?.textContent.includes(words)",
            arg=[selector, words],
        )

    def close(self) -> None:
        """End it, and insist that nothing went wrong in it."""
        self.context.close()
        assert self.complaints == []
        assert self.elsewhere == []
