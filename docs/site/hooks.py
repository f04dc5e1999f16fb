"""What MkDocs calls while it builds the site: documents from outside docs/, the navigation, generated parts, links.

Must not know how a part is made nor where a link leads. Neighbours: `parts` makes the generated parts,
`repository` knows the documents and the files that they link to; mkdocs.yml names this file.
"""

import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))  # MkDocs loads this file by its path

from docs.site import parts, repository  # noqa: E402 - see the line above

Nav = list[Any]  # of page, {title: page} or {title: Nav}, as mkdocs.yml has it


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is no file of docs/: documents beside the code, the files that documents link to, the icon."""
    repository.documents_outside.cache_clear()  # for `mkdocs serve`
    pages = {file.src_uri for file in files.documentation_pages()}
    for origin in repository.documents_outside():
        pages.add(origin)
        files.append(File.generated(config, origin, content=(ROOT / origin).read_text()))
    try:
        linked = {origin for page in pages for origin in repository.files_linked_from(repository.origin_of(page))}
    except repository.DeadLink as dead:
        raise PluginError(str(dead)) from dead
    for origin in sorted(linked):
        files.append(_copy(config, origin))
    files.append(File.generated(config, "assets/icon.svg", abs_src_path=str(ROOT / "proxy/admin/static/icon.svg")))
    if config.nav is not None:
        config.nav = _expanded(config.nav, sorted(pages))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: object) -> str:
    """Fill in the generated parts and make links lead to the site's own pages."""
    uri = page.file.src_uri
    if uri in config.extra["wide"] or uri.startswith(repository.COPIES):
        page.meta["hide"] = ["toc"]
    if uri.startswith(repository.COPIES):
        page.meta["search"] = {"exclude": True}  # what they say, the reference says better
        return markdown
    if uri.startswith("reference/"):
        page.meta["search"] = {"boost": 2}  # who searches for a key or a metric wants to know what it is
    return repository.with_site_links(parts.filled_in(markdown), repository.origin_of(uri))


def _copy(config: MkDocsConfig, origin: str) -> File:
    """A file of the repository: a page where it is short enough to be read as one, else as it is."""
    uri = repository.copy_of(origin)
    aside = InclusionLevel.NOT_IN_NAV
    if uri.endswith(".md"):
        return File.generated(config, uri, content=repository.as_page(origin), inclusion=aside)
    return File.generated(config, uri, abs_src_path=str(ROOT / origin), inclusion=aside)


def _expanded(nav: Nav, pages: list[str]) -> Nav:
    """The navigation with each pattern replaced by the pages that match it and have no entry of their own."""
    taken = set(_named(nav))

    def expand(entries: Nav) -> Nav:
        found: Nav = []
        for entry in entries:
            if isinstance(entry, str) and "*" in entry:
                matching = [page for page in pages if page not in taken and _matches(page, entry)]
                taken.update(matching)
                found += matching
            elif isinstance(entry, dict):
                found.append({title: expand(one) if isinstance(one, list) else one for title, one in entry.items()})
            else:
                found.append(entry)
        return found

    return expand(nav)


def _matches(page: str, pattern: str) -> bool:
    """A pattern without a directory is about pages without one."""
    return fnmatchcase(page, pattern) and ("/" in pattern or "/" not in page)


def _named(nav: Nav) -> list[str]:
    names: list[str] = []
    for entry in nav:
        if isinstance(entry, dict):
            for one in entry.values():
                names += _named(one) if isinstance(one, list) else [one]
        elif "*" not in entry:
            names.append(entry)
    return names
