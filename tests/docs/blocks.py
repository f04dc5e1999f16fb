"""The commands of a document: what stands in its fenced `sh` and `console` blocks.

In a `sh` block every logical line is a command. In a `console` block a command stands after `$ `, and what follows up
to the next one is what it prints: `…` within a line stands for any text, `…` alone for any lines. Other blocks hold no
commands; that one without a language does not is looked at too. Pure.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SHELL = frozenset({"sh", "bash", "shell"})
_FENCE = re.compile(r"^( *)(`{3,}|~{3,})\s*([\w-]*)")
_HEREDOC = re.compile(r"<<-?\s*['\"]?(\w+)['\"]?")


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is its first line's number."""

    language: str
    line: int
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Command:
    """A command as it is written; `prints` is None where the document does not say what it prints."""

    line: int
    text: str
    prints: str | None = None


def documents(root: Path) -> list[Path]:
    """The documents whose commands are for readers."""
    inside = [path for path in (root / "docs").rglob("*.md") if "site" not in path.relative_to(root).parts]
    return sorted([root / "README.md", root / "bench" / "README.md", *inside, *(root / "deploy").rglob("*.md")])


def blocks_of(text: str) -> Iterator[Block]:
    """The fenced blocks, one after another. Raises ValueError for one that does not end."""
    fence, indent, language, start, lines = "", 0, "", 0, []
    for number, line in enumerate(text.splitlines(), 1):
        mark = _FENCE.match(line)
        if not fence and mark:
            fence, indent, language, start, lines = mark[2], len(mark[1]), mark[3], number + 1, []
        elif fence and line.strip() == fence:
            yield Block(language, start, tuple(lines))
            fence = ""
        elif fence:
            lines.append(line[indent:] if not line[:indent].strip() else line)
    if fence:
        raise ValueError(f"the block at line {start} does not end")


def commands_of(text: str) -> list[Command]:
    """The commands of a document, in order."""
    return [
        command
        for block in blocks_of(text)
        for command in (_of_console(block) if block.language == "console" else _of_script(block))
    ]


def _of_script(block: Block) -> Iterator[Command]:
    if block.language not in SHELL:
        return
    pending: list[str] = []
    ends_with: str | None = None
    start = block.line
    for number, line in enumerate(block.lines, block.line):
        if not pending and (not line.strip() or line.lstrip().startswith("#")):
            continue
        start = start if pending else number
        pending.append(line)
        if ends_with is None and (opened := _HEREDOC.search(line)):
            ends_with = opened[1]
        elif ends_with is not None and line == ends_with:
            ends_with = None
        if ends_with is None and not line.endswith("\\") and not _open_quote("\n".join(pending)):
            yield Command(start, "\n".join(pending))
            pending = []
    if pending:
        yield Command(start, "\n".join(pending))


def _of_console(block: Block) -> Iterator[Command]:
    start, text, printed = 0, "", []
    for number, line in enumerate(block.lines, block.line):
        if text.endswith("\\"):
            text += f"\n{line}"
        elif line.startswith("$ "):
            if text:
                yield Command(start, text, "\n".join(printed))
            start, text, printed = number, line[2:], []
        elif text:
            printed.append(line)
        else:
            raise ValueError(f"line {number}: expected `$ ` and a command at the start of a console block")
    if text:
        yield Command(start, text, "\n".join(printed))


def _open_quote(text: str) -> bool:
    """Whether a quotation goes on past the text; comments are left out."""
    quote = ""
    for index, character in enumerate(text):
        if quote:
            if character == quote and (quote == "'" or text[index - 1] != "\\"):
                quote = ""
        elif character in "'\"" and text[index - 1 : index] != "\\":
            quote = character
        elif character == "#" and (index == 0 or text[index - 1].isspace()):
            rest = text.find("\n", index)
            if rest < 0:
                return False
    return bool(quote)


def prints_as_told(told: str, printed: str) -> bool:
    """Whether an output is what a document says, with `…` for what differs from time to time."""
    pattern = ""
    for line in told.rstrip().splitlines():
        if line.strip() == "…":
            pattern += r"(?:.*\n)*"
        else:
            pattern += ".*?".join(map(re.escape, line.rstrip().split("…"))) + r"[ \t]*\n"
    return re.fullmatch(pattern, printed.rstrip() + "\n" if printed.strip() else "") is not None
