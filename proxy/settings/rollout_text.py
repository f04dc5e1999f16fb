"""Changes `rollout.percentage` and `rollout.enabled` in a configuration's text, and not one character besides.

ruamel.yaml says where the scalars are; only they are replaced, so that comments, order, quotes, anchors, indentation
and line ends stay. Pure. It trusts the text to be a valid configuration; whether the result says what was meant is
for the caller to check. Neighbour: `edit` reads, checks and writes.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentEndEvent,
    MappingStartEvent,
    ScalarEvent,
)

from proxy.settings.yaml_source import resolve_plain

Event = Any  # ruamel's events have no useful static type: marks and styles are set dynamically
_SECTION: Final = "rollout"
_LINE_BREAK: Final = re.compile(r"\r\n|\n|\r")
_REST_OF_KEY_LINE: Final = re.compile(r"[ \t]*:[^\r\n]*(?:\r\n|\n|\r)")
_ANCHOR: Final = re.compile(r"&\S+\s+")


class CannotLocate(Exception):
    """The text is written in a way that can't be edited; the message says what to write instead."""


@dataclass(frozen=True, slots=True)
class EditedText:
    """`text` after the edit; `written` is what each key said before, None where it was not there.

    `followed` names the keys that have an anchor: what refers to it has changed with them.
    """

    text: str
    written: dict[str, str | None]
    followed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Patch:
    start: int
    end: int
    text: str


@dataclass(slots=True)
class _Section:
    """Where the rollout section is: its key, the start of its value, its first key and its entries."""

    key: Event
    start: Event
    first: Event | None
    entries: dict[str, Event]


def edit_text(text: str, wanted: Mapping[str, str]) -> EditedText:
    """Set each key of the rollout section that is in `wanted`, literally, adding what is missing.

    Raises CannotLocate.
    """
    try:
        root, first, section, end = _find_section(text)
    except YAMLError as error:
        raise CannotLocate("its YAML is unusual: change it by hand") from error
    if section is None:
        patch = _new_section(text, root, first, end, wanted)
        return EditedText(_patched(text, [patch]), dict.fromkeys(wanted), ())
    patches: list[_Patch] = []
    written: dict[str, str | None] = {}
    followed: list[str] = []
    for key in wanted:
        value = section.entries.get(key)
        written[key] = None if value is None else _as_written(text, value)
        if value is not None and not _says(value, wanted[key]):
            patches.append(_replacement(text, key, value, wanted[key]))
            if isinstance(value, ScalarEvent) and value.anchor is not None:
                followed.append(key)
    missing = {key: value for key, value in wanted.items() if key not in section.entries}
    if missing:
        patches.append(_new_keys(text, section, missing))
    return EditedText(_patched(text, patches), written, tuple(followed))


def _find_section(text: str) -> tuple[Event, Event | None, _Section | None, int]:
    """The root mapping, its first key, the rollout section if there is one, else where the document ends."""
    events: Iterator[Event] = iter(YAML(typ="rt", pure=True).parse(text))
    root = next((event for event in events if isinstance(event, CollectionStartEvent)), None)
    if not isinstance(root, MappingStartEvent):
        raise CannotLocate("its top level is no mapping")
    first: Event | None = None
    for key, value in _entries(events):
        first = key if first is None else first
        if isinstance(key, ScalarEvent) and key.value == _SECTION:
            return root, first, _read_section(events, key, value), 0
    end = next((event for event in events if isinstance(event, DocumentEndEvent)), None)
    return root, first, None, end.start_mark.index if end is not None and end.explicit else len(text)


def _read_section(events: Iterator[Event], key: Event, start: Event) -> _Section:
    if not isinstance(start, MappingStartEvent):
        raise CannotLocate(f"{_SECTION} is an alias: write its keys out")
    section = _Section(key, start, None, {})
    for name, value in _entries(events):
        section.first = name if section.first is None else section.first
        if isinstance(name, ScalarEvent):
            section.entries[name.value] = value
    return section


def _entries(events: Iterator[Event]) -> Iterator[tuple[Event, Event]]:
    """Keys and the starts of their values, up to the end of the mapping; a value not consumed is skipped."""
    for key in events:
        if isinstance(key, CollectionEndEvent):
            return
        _skip(events, key)
        value = next(events)
        yield key, value
        _skip(events, value)


def _skip(events: Iterator[Event], event: Event) -> None:
    depth = int(isinstance(event, CollectionStartEvent))
    while depth:
        following = next(events)
        depth += isinstance(following, CollectionStartEvent) - isinstance(following, CollectionEndEvent)


def _says(value: Event, wanted: str) -> bool:
    """Whether a value literally says what is wanted already."""
    literal = isinstance(value, ScalarEvent) and value.style is None and value.tag is None
    return literal and resolve_plain(value.value) == resolve_plain(wanted)


def _as_written(text: str, value: Event) -> str:
    return str(value.value) if isinstance(value, ScalarEvent) else text[value.start_mark.index : value.end_mark.index]


def _replacement(text: str, key: str, value: Event, wanted: str) -> _Patch:
    start, end = value.start_mark.index, value.end_mark.index
    if isinstance(value, AliasEvent):
        return _Patch(start, end, wanted)
    if not isinstance(value, ScalarEvent) or value.style in ("|", ">") or not value.value:
        raise CannotLocate(f"{_SECTION}.{key} is written in an unusual way: write it as a plain value in one line")
    anchor = _ANCHOR.match(text, start, end) if value.anchor is not None else None
    return _Patch(anchor.end() if anchor else start, end, wanted)


def _new_keys(text: str, section: _Section, missing: Mapping[str, str]) -> _Patch:
    start, first = section.start, section.first
    quoted = (section.key if first is None else first).style == '"'
    if start.flow_style:
        pairs = _flow_pairs(missing, quoted=quoted)
        if first is None:
            place = text.index("{", start.start_mark.index) + 1
            return _Patch(place, place, pairs)
        return _Patch(first.start_mark.index, first.start_mark.index, f"{pairs}, ")
    if first is None:
        raise CannotLocate(f"{_SECTION} is empty: write its keys out")
    indent, line_end = " " * first.start_mark.column, _line_end(text)
    below = _REST_OF_KEY_LINE.match(text, section.key.end_mark.index)
    if below is not None and below.end() <= first.start_mark.index:
        lines = "".join(f"{indent}{key}: {value}{line_end}" for key, value in missing.items())
        return _Patch(below.end(), below.end(), lines)
    lines = "".join(f"{key}: {value}{line_end}{indent}" for key, value in missing.items())
    return _Patch(first.start_mark.index, first.start_mark.index, lines)


def _new_section(text: str, root: Event, first: Event | None, end: int, wanted: Mapping[str, str]) -> _Patch:
    if first is None:
        raise CannotLocate("it is empty")
    if root.flow_style:
        quoted = first.style == '"'
        section = _flow_pairs({_SECTION: f"{{{_flow_pairs(wanted, quoted=quoted)}}}"}, quoted=quoted)
        return _Patch(first.start_mark.index, first.start_mark.index, f"{section}, ")
    indent, line_end = " " * first.start_mark.column, _line_end(text)
    before = "" if text[:end].endswith(("\n", "\r")) else line_end
    keys = "".join(f"{indent}  {key}: {value}{line_end}" for key, value in wanted.items())
    return _Patch(end, end, f"{before}{indent}{_SECTION}:{line_end}{keys}")


def _flow_pairs(pairs: Mapping[str, str], *, quoted: bool) -> str:
    mark = '"' if quoted else ""
    return ", ".join(f"{mark}{key}{mark}: {value}" for key, value in pairs.items())


def _line_end(text: str) -> str:
    """The line break that the text uses first."""
    found = _LINE_BREAK.search(text)
    return found[0] if found else "\n"


def _patched(text: str, patches: list[_Patch]) -> str:
    for patch in sorted(patches, key=lambda patch: patch.start, reverse=True):
        text = text[: patch.start] + patch.text + text[patch.end :]
    return text
