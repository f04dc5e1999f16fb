"""The HTML file: it needs nothing else, runs nothing, and can be read by everybody."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from proxy.report.canvas import IN_A_FILE, IN_A_PAGE
from proxy.report.composition import compose
from proxy.report.document import Cell, Document, Figure, Listing, Paragraph, Section, Table, Tile, Tone
from proxy.report.html import render_html
from proxy.report.output import write_report
from proxy.report.reading import made_fit
from tests.page.browsing import CHROMIUM, launch
from tests.page.test_contrast import contrast
from tests.report.hostile import HOSTILE


class Elements(HTMLParser):
    """All elements of a page with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def named(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.found if tag in tags]


@pytest.fixture(scope="module")
def page(document: Document) -> str:
    return render_html(document)


@pytest.fixture(scope="module")
def elements(page: str) -> Elements:
    return Elements(page)


def test_it_holds_the_seven_sections_in_their_order(document: Document, page: str) -> None:
    titles = re.findall(r'<h2 [^>]*><span class="number">(\d)</span> ([^<]+)</h2>', page)
    assert [title for _, title in titles] == [
        "Executive summary",
        "Timeline",
        "Performance metrics",
        "Issues encountered",
        "User impact",
        "Lessons learned",
        "Next steps",
    ]


def test_it_refers_to_nothing_outside_itself(page: str, elements: Elements) -> None:
    style = page.partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    assert not elements.named("script", "link", "img", "iframe", "object", "embed", "base", "form", "image")
    for tag, attributes in elements.found:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            assert name not in ("src", "srcset", "action", "formaction", "data", "poster", "background"), (tag, name)
            assert "javascript:" not in (value or "")
            if name.endswith("href"):
                assert value is not None
                assert value.startswith("#"), value
            for reference in re.findall(r"url\(([^)]*)\)", value or ""):
                assert reference.startswith("#"), reference
    addresses = [attributes for _, attributes in elements.found if "http" in str(attributes.values())]
    assert not [one for one in addresses if "Content-Security-Policy" not in str(one)]


def test_every_reference_within_it_has_its_one_place(elements: Elements) -> None:
    ids = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    wanted = set()
    for _, attributes in elements.found:
        for name, value in attributes.items():
            if name.endswith("href"):
                wanted.add(str(value).removeprefix("#"))
            if name == "aria-labelledby":
                wanted |= set(str(value).split())
            wanted |= set(re.findall(r"url\(#([^)]+)\)", str(value)))
    assert wanted <= set(ids)


def test_tables_and_plots_are_told_to_who_cannot_see_them(page: str, elements: Elements) -> None:
    tables = elements.named("table")
    assert len(tables) == len(elements.named("caption")) > 5
    assert {attributes.get("scope") for attributes in elements.named("th")} == {"col", "row"}
    plots = re.findall(r"<svg .*?</svg>", page, re.DOTALL)
    assert len(plots) == 4
    for plot in plots:
        opening = plot.partition(">")[0]
        assert 'role="img"' in opening
        assert re.search(r"<title id=[^>]+>[^<]+</title><desc id=[^>]+>[^<]+</desc>", plot)
        assert "<text" in plot, "text stays text"
        assert "#0" not in re.sub(r"[\w-]*#[\w-]+-\w+", "", plot.replace('href="#', "")), "placeholders are replaced"


def hostile_document(text: str) -> Document:
    table = Table(text, (text, "b"), ((Cell(text), Cell(text, Tone.BAD)),), dense=True)
    figure = Figure("name", text, text, "<svg></svg>")
    blocks = (Paragraph(text), Listing((Cell(text),)), table, figure)
    return Document(text, text, text, Tone.BAD, (Tile(text, text, text),), (Section(text, blocks),), text)


@pytest.mark.parametrize("text", HOSTILE)
def test_foreign_text_stays_text_wherever_it_stands(text: str) -> None:
    fit = made_fit(text)
    plain = Elements(render_html(hostile_document("x" * len(fit))))
    hostile = Elements(render_html(hostile_document(fit)))
    assert [tag for tag, _ in hostile.found] == [tag for tag, _ in plain.found]
    assert [set(attributes) for _, attributes in hostile.found] == [set(attributes) for _, attributes in plain.found]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    if not Path(CHROMIUM).exists():
        pytest.skip(f"no {CHROMIUM}")
    with playwright.sync_playwright() as api:
        launched = launch(api)
        yield launched
        launched.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_a_browser_shows_it_without_a_complaint_and_within_its_width(
    browser: Any, document: Document, tmp_path: Path, width: int, scheme: str
) -> None:
    html, *_ = write_report(document, tmp_path)
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    complaints, requests = [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(html.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("svg").count() == 4
    assert complaints == []
    assert requests == [html.as_uri()]
    context.close()


def test_it_prints_in_light_colours_even_for_who_likes_the_dark(
    browser: Any, document: Document, tmp_path: Path
) -> None:
    html, *_ = write_report(document, tmp_path)
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    page.goto(html.as_uri())
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(26, 31, 38)"
    assert page.pdf(format="A4").startswith(b"%PDF")
    context.close()


def test_the_same_inputs_give_the_same_bytes(completed: Any, document: Document, tmp_path: Path) -> None:
    first = {path.name: path.read_bytes() for path in write_report(document, tmp_path / "a")}
    second = {path.name: path.read_bytes() for path in write_report(compose(completed), tmp_path / "b")}
    assert first == second
    assert set(first) == {
        "report.html",
        "report.md",
        "percentage.svg",
        "latency.svg",
        "distributions.svg",
        "ratios.svg",
    }


STYLE = (Path(__file__).resolve().parents[2] / "proxy" / "report" / "templates" / "style.css").read_text()
READ, SEEN = 4.5, 3.0  # WCAG 2.2, 1.4.3 and 1.4.11
PAIRS = [
    *((tone, ground, READ) for tone in ("text", "muted", "accent") for ground in ("panel", "ground")),
    *((tone, "panel", READ) for tone in ("good", "warn", "bad")),
    *((tone, f"{tone}-soft", READ) for tone in ("good", "warn", "bad")),
    *((line, ground, SEEN) for line in ("legacy", "target", "muted", "bad", "warn") for ground in ("panel", "band")),
]


def palettes() -> list[dict[str, str]]:
    light, dark, *_ = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    return [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block)) for block in (light, dark)]


@pytest.mark.parametrize(("one", "other", "least"), PAIRS)
def test_each_pair_of_colours_can_be_told_apart_in_light_and_dark(one: str, other: str, least: float) -> None:
    for palette in palettes():
        assert contrast(palette[one], palette[other]) >= least


def test_the_plots_beside_the_markdown_have_the_colours_of_the_light_page() -> None:
    light = palettes()[0]
    for placeholder, css in IN_A_PAGE.items():
        assert IN_A_FILE[placeholder] == light[css.removeprefix("var(--").removesuffix(")")]
