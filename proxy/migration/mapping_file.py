"""From a file to a mapping: reads, validates, and says everything that is wrong with it at once, with its line.

Neighbours: `mapping` has the types, `mapping_rules` the rules, `settings.section_file` the words.
"""

import hashlib
from collections.abc import Iterable
from collections.abc import Mapping as Mappings
from dataclasses import dataclass, replace
from pathlib import Path

from proxy.migration.mapping import Mapping
from proxy.migration.mapping_rules import Column, Fault, find_faults, find_table_faults
from proxy.settings.document import Document
from proxy.settings.errors import ConfigError, ConfigProblem
from proxy.settings.section_file import in_line_order, read_file_bytes, read_section_document, validate_section


@dataclass(frozen=True, slots=True)
class LoadedMapping:
    """A valid mapping. `digest` names what it makes of a row: a comment, or the section `http`, changes nothing."""

    mapping: Mapping
    document: Document
    digest: str

    def check_table(self, columns: Mappings[str, Column]) -> None:
        """Compare it with the table's columns. Raises ConfigError with every problem, in line order."""
        _raise_any(self.document, (), find_table_faults(self.mapping, columns))

    def refuse(self, faults: Iterable[Fault]) -> None:
        """Raise ConfigError if there are any."""
        _raise_any(self.document, (), faults)

    def ignoring(self, attributes: Iterable[str]) -> "LoadedMapping":
        """The same, with these not compared either."""
        ignore = (*self.mapping.ignore, *attributes)
        return replace(self, mapping=self.mapping.model_copy(update={"ignore": ignore}))


def load_mapping(path: Path, env: Mappings[str, str]) -> LoadedMapping:
    """Read and check a mapping. Raises ConfigError with every problem, in line order."""
    data = read_file_bytes(path, "a mapping")
    document = read_section_document(data, path, env, "table, key and attributes are where to begin")
    mapping, problems = validate_section(Mapping, document)
    if mapping is None:
        raise ConfigError(in_line_order([*document.problems, *problems]))
    _raise_any(document, document.problems, find_faults(mapping))
    digest = hashlib.sha256(mapping.model_dump_json(exclude={"http"}).encode()).hexdigest()[:12]
    return LoadedMapping(mapping, document, digest)


def _raise_any(document: Document, problems: Iterable[ConfigProblem], faults: Iterable[Fault]) -> None:
    found = [*problems, *(document.problem(fault.path, fault.message, fault.hint) for fault in faults)]
    if found:
        raise ConfigError(in_line_order(found))
