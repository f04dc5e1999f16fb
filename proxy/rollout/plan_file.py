"""From a file to a plan: reads, validates, and says everything that is wrong with it at once, with its line.

Reads the plan, what it names by `${file:}`, and the configuration that it applies to (for the operations' names).
Neighbours: `plan` has the types, `plan_rules` the rules, `settings.document` the lines.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from proxy.core.model import OTHER_OPERATION
from proxy.rollout.plan import Plan
from proxy.rollout.plan_rules import find_advice, find_conflicts
from proxy.settings.document import Document, read_document
from proxy.settings.errors import ConfigError, ConfigProblem, ConfigWarning, KeyPath, dotted
from proxy.settings.load import LARGEST_FILE_BYTES, load_settings
from proxy.settings.placeholders import Expander
from proxy.settings.raw import BROKEN, kind_of
from proxy.settings.section import Section
from proxy.settings.suggest import nearest
from proxy.settings.yaml_source import YamlError

_MAPPINGS: Final = ("model_type", "model_attributes_type", "mapping_type", "dict_type")


@dataclass(frozen=True, slots=True)
class LoadedPlan:
    """A valid plan. `digest` names it: the first 12 hexadecimal digits of SHA-256 over the file's bytes."""

    plan: Plan
    path: Path
    digest: str
    warnings: tuple[ConfigWarning, ...]


def load_plan(path: Path, env: Mapping[str, str]) -> LoadedPlan:
    """Read and check a plan. Raises ConfigError with every problem, in line order."""
    data = _file_bytes(path)
    document = _document(data, path, env)
    plan, problems = _validated(document)
    problems = [*document.problems, *problems]
    if plan is None or problems:
        raise ConfigError(_in_order(problems))
    operations, doubt = _operations(plan, env)
    conflicts = [document.problem(one.path, one.message) for one in find_conflicts(plan, operations)]
    if conflicts:
        raise ConfigError(_in_order(conflicts))
    warnings = [*doubt, *find_advice(plan)]
    shown = tuple(ConfigWarning(document.line_of(key), dotted(key), message) for key, message in warnings)
    return LoadedPlan(plan, path, hashlib.sha256(data).hexdigest()[:12], shown)


def _in_order(problems: list[ConfigProblem]) -> tuple[ConfigProblem, ...]:
    return tuple(sorted(problems, key=lambda problem: problem.line or 0))


def _file_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError.about_file(path, "no such file") from None
    except IsADirectoryError:
        raise ConfigError.about_file(path, "is a directory, not a plan") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or "not a usable path"
        raise ConfigError.about_file(path, f"cannot be read: {reason}") from None
    if len(data) > LARGEST_FILE_BYTES:
        raise ConfigError.about_file(path, "is larger than 1 MiB")
    return data


def _document(data: bytes, path: Path, env: Mapping[str, str]) -> Document:
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
        raise ConfigError((ConfigProblem(str(path), 1, "", "the file is empty", "stages are where to begin"),))
    return document


def _validated(document: Document) -> tuple[Plan | None, list[ConfigProblem]]:
    try:
        return Plan.model_validate(document.tree, context={"directory": document.path.parent}), []
    except ValidationError as error:
        return None, [problem for each in error.errors(include_url=False) for problem in _translate(each, document)]


def _translate(error: ErrorDetails, document: Document) -> Iterator[ConfigProblem]:
    path: KeyPath = tuple(part for part in error["loc"] if part != "[key]")
    if error["input"] is BROKEN or error["type"] == "reported":
        return
    if error["type"] == "rejected":
        yield document.problem(path, error["ctx"]["message"], error["ctx"]["hint"])
    elif error["type"] == "extra_forbidden":
        meant = nearest(str(path[-1]), _keys_at(path[:-1]))
        yield document.problem(path, "unknown key", f'did you mean "{meant}"?' if meant else None)
    elif error["type"] == "missing":
        yield document.problem(path, "required key is missing")
    elif error["type"] in ("tuple_type", "list_type"):
        yield document.problem(path, f"expected a list, got {kind_of(error['input'])}")
    elif error["type"] in _MAPPINGS:
        yield document.problem(path, f"expected a mapping (keys and values), got {kind_of(error['input'])}")
    else:
        yield document.problem(path, "not a valid value")


def _keys_at(path: KeyPath) -> tuple[str, ...]:
    """The keys that the section at this place knows."""
    section: type[Section] | None = Plan
    for part in path:
        if isinstance(part, str) and section is not None:
            field = section.model_fields.get(part)
            section = _section_in(field.annotation) if field else None
    return tuple(section.model_fields) if section else ()


def _section_in(annotation: object) -> type[Section] | None:
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, Section):
            return candidate
    return None


def _operations(plan: Plan, env: Mapping[str, str]) -> tuple[tuple[str, ...] | None, list[tuple[KeyPath, str]]]:
    """The operations' names in the configuration, or None and why they are not known."""
    if plan.apply.file is None:
        return None, []
    try:
        settings = load_settings(Path(plan.apply.file), env).settings
    except ConfigError as error:
        why = f"{error.problems[0]}: the operations' names are not checked"
        return None, [(("apply", "file"), why)]
    return (*(operation.name for operation in settings.operations), OTHER_OPERATION), []
