"""The repository as the site shows it: which documents are pages, and where a link between files leads.

A document of docs/ is a page of the same path, without `docs/`; one beside the code (deploy/, bench/, the
changelog) is a page of its own path. The README is what `index.md` is for. Any other file that a document links to
is copied to `source/`: as a page with its text when it is short, as it is otherwise. So every link that works in
the repository works in the site, and none needs a network. Neighbour: `hooks`, which MkDocs calls.
"""

import os.path
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
COPIES: Final = "source/"
_OUTSIDE: Final = ("CHANGELOG.md", "bench/README.md", "deploy/**/*.md")
_LONGEST_PAGE_LINES: Final = 500
_FENCE: Final = re.compile(r"\s*(`{3,}|~{3,})")
# Inline code first, so that a link inside it is left alone.
_LINK: Final = re.compile(r"(`+).+?\1|(?<=\]\()([^)\s]+)(?=\))")
_LANGUAGES: Final = {
    ".cfg": "ini", ".json": "json", ".py": "python", ".service": "ini", ".sh": "bash", ".socket": "ini",
    ".toml": "toml", ".yaml": "yaml", ".yml": "yaml",
}  # fmt: skip


class DeadLink(Exception):
    """A document links to a file that is not there."""


@cache
def documents_outside() -> tuple[str, ...]:
    """The documents that are not in docs/, by their path in the repository."""
    found = sorted(
        path.relative_to(ROOT).as_posix()
        for pattern in _OUTSIDE
        for path in ROOT.glob(pattern)
        if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
    )
    return tuple(found)


def origin_of(page: str) -> str:
    """Where in the repository a page of the site comes from."""
    return page if page in documents_outside() else f"docs/{page}"


def copy_of(origin: str) -> str:
    """Where in the site a file goes that is no document, or a folder without a README."""
    return f"{COPIES}{origin}.md" if _is_told_as_page(ROOT / origin) else f"{COPIES}{origin}"


def as_page(origin: str) -> str:
    """A page that shows a file's text, or the names of a folder's files."""
    path = ROOT / origin
    text = "\n".join(_files_below(path)) if path.is_dir() else path.read_text()
    fence = "`" * max([2, *(len(run) for run in re.findall("`{3,}", text))]) + "`"
    language = _LANGUAGES.get(path.suffix, "text")
    return f"# {origin}\n\n{fence}{language}\n{text.rstrip()}\n{fence}\n"


def files_linked_from(origin: str) -> Iterator[str]:
    """The files that a document links to and that are no documents themselves. Raises DeadLink."""
    found: list[str] = []

    def note(link: str) -> str:
        target = _target(link, origin)
        if target is not None and _page_of(target) is None:
            found.append(target)
        return link

    _each_link((ROOT / origin).read_text(), note)
    yield from found


def with_site_links(text: str, origin: str) -> str:
    """The text of a document with the links that lead to files of the repository leading to the site's."""

    def rewritten(link: str) -> str:
        target = _target(link, origin)
        if target is None:
            return link
        page = _page_of(target) or copy_of(target)
        here = _page_of(origin) or origin
        _, hash_mark, anchor = link.partition("#")
        return os.path.relpath(page, os.path.dirname(here) or ".") + hash_mark + anchor  # noqa: PTH120 - site paths

    return _each_link(text, rewritten)


def _page_of(origin: str) -> str | None:
    """The page of a document; None for any other file."""
    if origin == "README.md":
        return "index.md"
    if origin.startswith("docs/"):
        return origin.removeprefix("docs/")
    return origin if origin in documents_outside() else None


def _target(link: str, origin: str) -> str | None:
    """The file that a link leads to, by its path in the repository; None where it leads elsewhere."""
    address = link.partition("#")[0]
    if not address or "://" in address or address.startswith("mailto:"):
        return None
    path = (ROOT / origin).parent / address
    if (path / "README.md").is_file():
        path /= "README.md"
    if not path.exists() or not path.resolve().is_relative_to(ROOT):
        raise DeadLink(f"{origin}: {link}: there is no such file")
    return path.resolve().relative_to(ROOT).as_posix()


def _each_link(text: str, change: Callable[[str], str]) -> str:
    """The text with each link outside code replaced by what `change` makes of it."""
    lines: list[str] = []
    fence = ""
    for line in text.split("\n"):
        mark = _FENCE.match(line)
        if mark and (not fence or line.strip() == fence):
            fence = "" if fence else mark[1]
        elif not fence:
            line = _LINK.sub(lambda found: change(found[2]) if found[2] else found[0], line)  # noqa: PLW2901 - rewritten
        lines.append(line)
    return "\n".join(lines)


def _files_below(folder: Path) -> list[str]:
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in found if "__pycache__" not in path.parts)


def _is_told_as_page(path: Path) -> bool:
    if path.is_dir():
        return True
    content = path.read_bytes()
    return path.suffix != ".svg" and b"\0" not in content and content.count(b"\n") <= _LONGEST_PAGE_LINES
