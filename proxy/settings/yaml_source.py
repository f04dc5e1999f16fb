"""YAML text as nodes that know their lines; nothing is given a type here.

Built from the parser's events rather than by PyYAML's composer, because the composer recurses (deep nesting
would overflow the stack) and because a broken node must not hide the problems after it. Plain scalars are
resolved by YAML 1.2 core rules without octal and hexadecimal: `on`, `1:30` and `2024-01-01` are text.
Neighbour: `document`.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from proxy.settings.raw import NumberLike

DEEPEST: Final = 32
MOST_NODES: Final = 200_000

_STRING_TAGS: Final = ("!", "tag:yaml.org,2002:str")
_CONSTANTS: Final = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})", re.ASCII)
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,3})?", re.ASCII)
_NUMBER_LIKE: Final = re.compile(r"[-+]?(?:0[xob][0-9A-Fa-f_]+|[0-9][0-9_]*(?:\.[0-9_]*)?)", re.ASCII)


@dataclass(frozen=True, slots=True)
class YamlFault:
    """Why the text, or one node of it, is no YAML that a configuration may use."""

    line: int
    problem: str
    hint: str | None = None


class YamlError(Exception):
    """The text cannot be read at all."""

    def __init__(self, fault: YamlFault) -> None:
        super().__init__(fault.problem)
        self.fault = fault


@dataclass(slots=True)
class ScalarNode:
    """Text as written; `plain` when it had no quotes. `fault` when it had a tag that is not understood."""

    line: int
    text: str
    plain: bool
    fault: YamlFault | None = None


@dataclass(slots=True)
class SequenceNode:
    """A list."""

    line: int
    fault: YamlFault | None = None
    items: list["Node"] = field(default_factory=list)


@dataclass(slots=True)
class MappingNode:
    """A mapping, with its keys as they come, duplicates included."""

    line: int
    fault: YamlFault | None = None
    entries: list[tuple["Node", "Node"]] = field(default_factory=list)


Node = ScalarNode | SequenceNode | MappingNode


def resolve_plain(text: str) -> str | int | float | bool | None:
    """The value of an unquoted scalar; `NumberLike` for what YAML versions read differently."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and not text.lstrip("+-").isdigit():
        return float(text)
    return NumberLike(text) if _NUMBER_LIKE.fullmatch(text) else text


def read_nodes(text: str) -> Node | None:
    """The one document in `text`, or None when there is none. Raises YamlError."""
    unprintable = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if unprintable:
        line = text.count("\n", 0, unprintable.start()) + 1
        raise YamlError(YamlFault(line, f"the character {unprintable[0]!a} is not allowed in YAML"))
    loader: Any = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=loader):
            builder.take(event)
    except yaml.MarkedYAMLError as exc:
        raise YamlError(_syntax_fault(exc, text.splitlines())) from None
    except yaml.YAMLError:
        raise YamlError(YamlFault(1, "not valid YAML")) from None
    return builder.root


class _Builder:
    """Makes nodes of events. `_open` are the collections not yet ended, `_keys` the keys without a value."""

    def __init__(self) -> None:
        self.root: Node | None = None
        self._open: list[SequenceNode | MappingNode] = []
        self._keys: list[Node | None] = []
        self._anchors: dict[str, Node] = {}
        self._unfinished: list[tuple[str | None, Node]] = []
        self._documents = 0
        self._nodes = 0

    def __repr__(self) -> str:
        return f"<_Builder: {self._nodes} nodes, {len(self._open)} open>"

    def take(self, event: yaml.Event) -> None:
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise YamlError(YamlFault(line, "a second document starts here", "keep one"))
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event.anchor, line)
        elif isinstance(event, yaml.ScalarEvent):
            plain = event.implicit[0] and event.tag is None
            node = ScalarNode(line, event.value, plain, _tag_fault(event.tag, line, _STRING_TAGS))
            self._add(node, event.anchor)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._start(SequenceNode(line, _tag_fault(event.tag, line, ())), event.anchor)
        elif isinstance(event, yaml.MappingStartEvent):
            self._start(MappingNode(line, _tag_fault(event.tag, line, ())), event.anchor)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._end()

    def _start(self, node: SequenceNode | MappingNode, anchor: str | None) -> None:
        if len(self._open) >= DEEPEST:
            raise YamlError(YamlFault(node.line, f"nested more than {DEEPEST} levels deep"))
        # the anchor counts from the end of the node: a node that holds itself has no finite value
        self._add(node, None)
        self._open.append(node)
        self._keys.append(None)
        self._unfinished.append((anchor, node))

    def _end(self) -> None:
        self._open.pop()
        self._keys.pop()
        anchor, node = self._unfinished.pop()
        if anchor is not None:
            self._anchors[anchor] = node

    def _alias(self, anchor: str | None, line: int) -> None:
        if anchor is None or anchor not in self._anchors:
            raise YamlError(YamlFault(line, f"the alias *{anchor} has no finished anchor before it"))
        self._add(self._anchors[anchor], None)

    def _add(self, node: Node, anchor: str | None) -> None:
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise YamlError(YamlFault(node.line, f"more than {MOST_NODES} values"))
        if anchor is not None:
            self._anchors[anchor] = node
        if not self._open:
            self.root = node
            return
        parent = self._open[-1]
        if isinstance(parent, SequenceNode):
            parent.items.append(node)
        elif (key := self._keys[-1]) is None:
            self._keys[-1] = node
        else:
            parent.entries.append((key, node))
            self._keys[-1] = None


def _tag_fault(tag: str | None, line: int, known: tuple[str, ...]) -> YamlFault | None:
    if tag is None or tag in known:
        return None
    return YamlFault(line, "tags (words that start with !) are not supported", "put the value in quotes if it is text")


def _syntax_fault(exc: yaml.MarkedYAMLError, lines: list[str]) -> YamlFault:
    mark = exc.problem_mark or exc.context_mark
    number, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    problem = exc.problem or "cannot be read"
    return YamlFault(number, f"not valid YAML at column {column}: {problem}", _syntax_hint(number, problem, lines))


def _syntax_hint(number: int, problem: str, lines: list[str]) -> str | None:
    """What the usual mistakes look like; libyaml often notices them one line late."""
    near = lines[max(0, number - 2) : number]
    if any("${" in line and ("{" in line.replace("${", "") or "[" in line) for line in near):
        return "inside [ ] or { }, put a value that holds ${…} in quotes"
    if any("\t" in line[: len(line) - len(line.lstrip())] for line in near):
        return "indent with spaces, not with tabs"
    if "mapping values" in problem:
        return "check the indentation, and put text that holds `: ` in quotes"
    return None
