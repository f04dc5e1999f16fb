"""A configuration file as plain values, each with its line: what validation is given.

Expands aliases and placeholders, refuses duplicate keys. A value that cannot be had is reported and stands
as `BROKEN`, so that validation goes on and reports the rest. Neighbours: `yaml_source` before, `problems`
and `load` after.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxy.settings.errors import ConfigProblem, KeyPath, dotted
from proxy.settings.placeholders import Expander, PlaceholderError
from proxy.settings.raw import BROKEN
from proxy.settings.yaml_source import (
    DEEPEST,
    MappingNode,
    Node,
    ScalarNode,
    SequenceNode,
    YamlError,
    YamlFault,
    read_nodes,
    resolve_plain,
)

MOST_VALUES: Final = 200_000  # aliases included: a few lines of them can stand for billions


@dataclass(frozen=True, slots=True)
class Document:
    """`tree` is the root value; `lines` says where each key or item is; `problems` is what reading found."""

    path: Path
    tree: object
    lines: dict[KeyPath, int]
    problems: tuple[ConfigProblem, ...]
    files: tuple[Path, ...]

    def line_of(self, path: KeyPath) -> int | None:
        """The line of a key, or None when the file does not write it."""
        return self.lines.get(path)

    def problem(self, path: KeyPath, problem: str, hint: str | None = None) -> ConfigProblem:
        """A problem with a key; a missing one is placed at the nearest key around it."""
        place = path
        while place and place not in self.lines:
            place = place[:-1]
        return ConfigProblem(str(self.path), self.lines.get(place, 1), dotted(path), problem, hint)


def read_document(text: str, path: Path, expander: Expander) -> Document:
    """The values of a YAML text. Raises YamlError when it cannot be read at all."""
    root = read_nodes(text)
    reader = _Reader(str(path), expander)
    tree = {} if root is None else reader.value(root, ())
    return Document(path, tree, reader.lines, tuple(reader.problems), expander.files)


class _Reader:
    """One pass over the nodes of one file."""

    def __init__(self, file: str, expander: Expander) -> None:
        self.lines: dict[KeyPath, int] = {}
        self.problems: list[ConfigProblem] = []
        self._file = file
        self._expander = expander
        self._values = 0

    def __repr__(self) -> str:
        return f"<_Reader of {self._file}: {self._values} values, {len(self.problems)} problems>"

    def value(self, node: Node, path: KeyPath) -> object:
        self._values += 1
        if self._values > MOST_VALUES:
            raise YamlError(YamlFault(node.line, f"its aliases expand to more than {MOST_VALUES} values"))
        if len(path) > DEEPEST:
            raise YamlError(YamlFault(node.line, f"its aliases nest more than {DEEPEST} levels deep"))
        self.lines.setdefault(path, node.line)
        if node.fault is not None:
            return self._broken(node.fault.line, path, node.fault.problem, node.fault.hint)
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        if isinstance(node, SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.items)]
        return self._mapping(node, path)

    def _scalar(self, node: ScalarNode, path: KeyPath) -> object:
        if "${" not in node.text:
            return resolve_plain(node.text) if node.plain else node.text
        try:
            return self._expander.expand(node.text)
        except PlaceholderError as exc:
            return self._broken(self.lines[path], path, exc.problem, exc.hint)

    def _mapping(self, node: MappingNode, path: KeyPath) -> dict[str, object]:
        values: dict[str, object] = {}
        for key_node, value_node in node.entries:
            key = self._key(key_node, path)
            if key is None:
                continue
            here = (*path, key)
            if key in values:
                first = self.lines[here]
                self._broken(key_node.line, here, f"duplicate key; it is already on line {first}")
                continue
            self.lines[here] = key_node.line
            values[key] = self.value(value_node, here)
        return values

    def _key(self, node: Node, path: KeyPath) -> str | None:
        """The text of a key, or None when it is reported."""
        if not isinstance(node, ScalarNode):
            self._broken(node.line, path, "a key must be text, not a list or a mapping")
        elif node.fault is not None:
            self._broken(node.line, path, node.fault.problem)
        elif node.plain and node.text == "<<":
            self._broken(
                node.line,
                (*path, "<<"),
                "merge keys are not supported",
                "repeat the keys",
            )
        elif "${" in node.text:
            self._broken(node.line, path, "a placeholder can stand in a value, not in a key")
        elif node.plain and not isinstance(resolve_plain(node.text), str):
            self._broken(node.line, (*path, node.text), "a key must be text", "put it in quotes")
        else:
            return node.text
        return None

    def _broken(self, line: int, path: KeyPath, problem: str, hint: str | None = None) -> object:
        self.problems.append(ConfigProblem(self._file, line, dotted(path), problem, hint))
        return BROKEN
