"""A file that is one typed section: its bytes, its values with their lines, and what validation found, in words.

Neighbours: `document` knows the lines; `rollout.plan_file` and `migration.mapping_file` read their files with it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, TypeVar, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from proxy.settings.document import Document, read_document
from proxy.settings.errors import ConfigError, ConfigProblem, KeyPath
from proxy.settings.load import LARGEST_FILE_BYTES
from proxy.settings.placeholders import Expander
from proxy.settings.raw import BROKEN, kind_of
from proxy.settings.section import Section
from proxy.settings.suggest import nearest
from proxy.settings.yaml_source import YamlError

Root = TypeVar("Root", bound=Section)

_MAPPINGS: Final = ("model_type", "model_attributes_type", "mapping_type", "dict_type")


def read_file_bytes(path: Path, what: str) -> bytes:
    """The bytes of a file that is to be `what`, such as "a plan". Raises ConfigError."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError.about_file(path, "no such file") from None
    except IsADirectoryError:
        raise ConfigError.about_file(path, f"is a directory, not {what}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or "not a usable path"
        raise ConfigError.about_file(path, f"cannot be read: {reason}") from None
    if len(data) > LARGEST_FILE_BYTES:
        raise ConfigError.about_file(path, "is larger than 1 MiB")
    return data


def read_section_document(data: bytes, path: Path, env: Mapping[str, str], begin_with: str) -> Document:
    """The values of a file's bytes; `begin_with` is advice for an empty one. Raises ConfigError."""
    try:
        text = data.decode("utf-8-sig")
        document = read_document(text, path, Expander(env, path.parent))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError((ConfigProblem(str(path), line, "", "not valid UTF-8"),)) from None
    except YamlError as error:
        fault = error.fault
        raise ConfigError((ConfigProblem(str(path), fault.line, "", fault.problem, fault.hint),)) from None
    if document.tree in (None, {}) and not document.problems:
        raise ConfigError((ConfigProblem(str(path), 1, "", "the file is empty", begin_with),))
    return document


def validate_section(root: type[Root], document: Document) -> tuple[Root | None, list[ConfigProblem]]:
    """The section, or None and everything that is wrong with it beyond `document.problems`."""
    try:
        return root.model_validate(document.tree, context={"directory": document.path.parent}), []
    except ValidationError as error:
        found = error.errors(include_url=False)
    return None, [problem for each in found for problem in _translate(each, document, root)]


def in_line_order(problems: list[ConfigProblem]) -> tuple[ConfigProblem, ...]:
    """Sorted as the file is read."""
    return tuple(sorted(problems, key=lambda problem: problem.line or 0))


def _translate(error: ErrorDetails, document: Document, root: type[Section]) -> Iterator[ConfigProblem]:
    path: KeyPath = tuple(part for part in error["loc"] if part != "[key]")
    if error["input"] is BROKEN or error["type"] == "reported":
        return
    if error["type"] == "rejected":
        yield document.problem(path, error["ctx"]["message"], error["ctx"]["hint"])
    elif error["type"] == "extra_forbidden":
        meant = nearest(str(path[-1]), _keys_at(root, path[:-1]))
        yield document.problem(path, "unknown key", f'did you mean "{meant}"?' if meant else None)
    elif error["type"] == "missing":
        yield document.problem(path, "required key is missing")
    elif error["type"] in ("tuple_type", "list_type"):
        yield document.problem(path, f"expected a list, got {kind_of(error['input'])}")
    elif error["type"] in _MAPPINGS:
        yield document.problem(path, f"expected a mapping (keys and values), got {kind_of(error['input'])}")
    else:
        yield document.problem(path, "not a valid value")


def _keys_at(root: type[Section], path: KeyPath) -> tuple[str, ...]:
    """The keys that the section at this place knows; a mapping's own keys are none of a section."""
    section: type[Section] | None = root
    for part in path:
        field = section.model_fields.get(str(part)) if section is not None else None
        section = _section_in(field.annotation) if field else section
    return tuple(section.model_fields) if section else ()


def _section_in(annotation: object) -> type[Section] | None:
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, Section):
            return candidate
    return None
