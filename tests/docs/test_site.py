"""The documentation as a site: built strictly, whole without a network, and with everything the code has."""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import cast
from urllib.parse import unquote, urldefrag

import pytest
import yaml

from docs.site import command_line, configuration, parts, repository
from proxy.admin.api import build_admin_app
from proxy.admin.control import Control
from proxy.rollout.plan import Plan
from proxy.telemetry import exposition
from proxy.telemetry.vocabulary import EVENTS

ROOT = Path(__file__).parents[2]


def build(folder: Path, site: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)],
        cwd=folder,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = build(ROOT, folder)
    assert built.returncode == 0, built.stderr
    return folder


class Page(HTMLParser):
    """What a page loads, where it leads, and what can be pointed at in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.leads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if "id" in found:
            self.anchors.add(found["id"])
        if tag in ("script", "img", "source", "iframe") and found.get("src"):
            self.loads.append(found["src"])
        if tag == "link" and found.get("href") and found.get("rel") not in ("prev", "next", "canonical"):
            self.loads.append(found["href"])
        if tag == "a" and found.get("href"):
            self.leads.append(found["href"])


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path.read_text()) for path in site.rglob("*.html") if path.name != "404.html"}


def test_every_page_is_there_also_those_from_outside_docs(site):
    for page in (
        "index", "how-to/index", "reference/cli", "adr/index", "deploy/runbook", "deploy/index", "bench/index",
        "CHANGELOG", "source/config/cutover.yaml",
    ):  # fmt: skip
        assert (site / f"{page}.html").is_file(), page


def test_nothing_is_loaded_from_elsewhere(site, pages):
    for path, page in pages.items():
        for address in page.loads:
            assert "://" not in address, f"{path.name} loads {address}"
            assert not address.startswith("//"), f"{path.name} loads {address}"
            assert (path.parent / unquote(urldefrag(address).url)).exists(), f"{path.name} loads {address}"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(\s*['\"]?(https?:)?//", sheet.read_text()), sheet.name


def test_every_link_within_the_site_leads_somewhere(pages):
    checked = 0
    for path, page in pages.items():
        for address in page.leads:
            url, anchor = urldefrag(address)
            if "://" in url or url.startswith(("mailto:", "javascript:")):
                continue
            target = path if not url else Path(os.path.normpath(path.parent / unquote(url)))
            assert target.exists(), f"{path}: {address}"
            if anchor and target in pages:
                assert unquote(anchor) in pages[target].anchors, f"{path}: {address}"
            checked += 1
    assert checked > 1000


def test_every_key_command_metric_and_event_has_its_place(site, pages):
    told = {
        "configuration": (key.path for key in configuration.every_key()),
        "rollout-plan": (key.path for key in configuration.every_key(Plan)),
        "cli": (name for name, _, _ in command_line.every_command()),
        "metrics": (one.name for one in vars(exposition).values() if isinstance(one, exposition.Family)),
        "logs": EVENTS,
    }
    for page, words in told.items():
        text = (site / "reference" / f"{page}.html").read_text()
        for word in words:
            assert f">{word}<" in text, f"{page}: {word}"
    anchors = pages[site / "reference" / "configuration.html"].anchors
    assert {"legacy-timeout", "rollout-percentage", "operations-match", "limits-buffered_bytes"} <= anchors


def test_every_endpoint_of_the_admin_port_is_documented():
    text = (ROOT / "docs" / "reference" / "admin-api.md").read_text()
    told = set(re.findall(r"^\| `([A-Z]+ /[\w/]*)", text, flags=re.MULTILINE))
    app = build_admin_app(cast(Control, None))
    served = {f"{route.method} {route.resource.canonical}" for route in app.router.routes() if route.method != "HEAD"}
    its_own = {"GET /static/{version}/{name}", "GET /events"}  # what the live page loads
    assert told == served - its_own


def test_every_key_says_what_it_means_and_which_need_a_restart():
    keys = configuration.every_key()
    assert all(key.meaning and key.kind and key.default for key in keys)
    assert [key.path for key in keys if "restart" in key.meaning] == ["listen", "workers", "admin.listen"]
    told = {key.path: (key.kind, key.default) for key in keys}
    assert told["rollout.percentage"] == ("whole number, 0 to 100", "`0`")
    assert told["target.timeout"] == ("duration of at least 1ms", "`5s`")
    assert told["limits.drain_delay"] == ("duration of at least 0s", "`0s`")
    assert told["limits.body_bytes"] == ("size of at least 1B", "`100MiB`")
    assert told["target.circuit_breaker.failure_ratio"] == ("number above 0, at most 1", "`0.5`")
    assert told["fallback.statuses"] == (
        "list of: whole number, 400 to 599 or `4xx`, `5xx`",
        "`[401, 403, 404, 408, 429, 5xx]`",
    )
    assert told["legacy.url"] == ("text", "**required**")
    plan = {key.path: (key.kind, key.default) for key in configuration.every_key(Plan)}
    assert plan["observe.cloudwatch.region"] == ("text", "**required**")
    assert plan["checks[].below"] == ("number or duration, or null", "`null`")


def test_no_mark_of_a_generated_part_is_left_unfilled(site):
    used = set()
    for document in (ROOT / "docs").rglob("*.md"):
        used |= set(re.findall(r"<!-- generated: ([a-z-]+) -->", document.read_text()))
    assert used == set(parts.PARTS)
    for page in site.rglob("*.html"):
        assert "<!-- generated: " not in page.read_text(), page


def test_the_address_in_every_alert_is_a_section_of_the_runbook_page(site, pages):
    rules = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text())
    addresses = [rule["annotations"]["runbook_url"] for group in rules["groups"] for rule in group["rules"]]
    assert len(addresses) > 10
    anchors = pages[site / "deploy" / "runbook.html"].anchors
    for address in addresses:
        assert urldefrag(address).fragment in anchors, address


SECTIONS = re.split(r"^## ", (ROOT / "deploy/runbook.md").read_text(), flags=re.MULTILINE)[1:]
ALERTS = re.findall(r"- alert: (\w+)", (ROOT / "deploy/prometheus/alerts.yml").read_text())


@pytest.mark.parametrize("section", [one for one in SECTIONS if one.splitlines()[0] in ALERTS])
def test_every_section_for_an_alert_says_what_it_means_what_to_check_and_what_to_do(section):
    for word in ("Means", "Users see", "First look", "Do", "Roll back"):
        assert f"- **{word}** " in section, section.splitlines()[0]


def test_dead_links_and_dead_anchors_fail_the_build(tmp_path):
    for name in ("docs", "deploy", "config", "bench", "proxy"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("README.md", "CHANGELOG.md", "mkdocs.yml", "Dockerfile"):
        shutil.copy(ROOT / name, tmp_path / name)
    with (tmp_path / "docs" / "security.md").open("a") as document:
        document.write("\n[gone](index.md#there-is-no-such-heading)\n")
    built = build(tmp_path, tmp_path / "site")
    assert built.returncode != 0
    assert "there-is-no-such-heading" in built.stdout + built.stderr


def test_a_folder_without_a_readme_is_shown_as_its_files():
    assert "minimal.yaml\nrollout/production.yaml\n" in repository.as_page("config")


def test_a_link_to_no_file_is_an_error_that_names_both():
    with pytest.raises(repository.DeadLink, match=r"docs/index\.md: \.\./absent\.md"):
        repository.with_site_links("[x](../absent.md)", "docs/index.md")


@pytest.mark.parametrize(
    ("link", "origin", "leads"),
    [
        ("(../deploy/runbook.md#cutoverdown)", "docs/metrics.md", "(deploy/runbook.md#cutoverdown)"),
        ("(../../deploy/README.md)", "docs/how-to/index.md", "(../deploy/README.md)"),
        ("(../docs/metrics.md)", "deploy/README.md", "(../metrics.md)"),
        ("(../README.md)", "docs/metrics.md", "(index.md)"),
        ("(docs/adr/)", "CHANGELOG.md", "(adr/README.md)"),
        ("(../config/minimal.yaml)", "docs/metrics.md", "(source/config/minimal.yaml.md)"),
        ("(../config)", "docs/metrics.md", "(source/config.md)"),
        ("(../config/cutover.schema.json)", "docs/metrics.md", "(source/config/cutover.schema.json)"),
        ("(https://example.com/x.md)", "docs/metrics.md", "(https://example.com/x.md)"),
        ("(#here)", "docs/metrics.md", "(#here)"),
    ],
)
def test_a_link_of_the_repository_leads_to_the_same_in_the_site(link, origin, leads):
    assert repository.with_site_links(f"see [x]{link}, `[x]{link}`", origin) == f"see [x]{leads}, `[x]{link}`"
    assert repository.with_site_links(f"```\n[x]{link}\n```", origin) == f"```\n[x]{link}\n```"
