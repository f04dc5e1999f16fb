"""From a file to a plan: reads, validates, and says everything that is wrong with it at once, with its line.

Reads the plan, what it names by `${file:}`, and the configuration that it applies to (for the operations' names).
Neighbours: `plan` has the types, `plan_rules` the rules, `settings.section_file` the words.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from proxy.core.model import OTHER_OPERATION
from proxy.rollout.plan import Plan
from proxy.rollout.plan_rules import find_advice, find_conflicts
from proxy.settings.errors import ConfigError, ConfigWarning, KeyPath, dotted
from proxy.settings.load import load_settings
from proxy.settings.section_file import in_line_order, read_file_bytes, read_section_document, validate_section


@dataclass(frozen=True, slots=True)
class LoadedPlan:
    """A valid plan. `digest` names it: the first 12 hexadecimal digits of SHA-256 over the file's bytes."""

    plan: Plan
    path: Path
    digest: str
    warnings: tuple[ConfigWarning, ...]


def load_plan(path: Path, env: Mapping[str, str]) -> LoadedPlan:
    """Read and check a plan. Raises ConfigError with every problem, in line order."""
    data = read_file_bytes(path, "a plan")
    document = read_section_document(data, path, env, "stages are where to begin")
    plan, problems = validate_section(Plan, document)
    problems = [*document.problems, *problems]
    if plan is None or problems:
        raise ConfigError(in_line_order(problems))
    operations, doubt = _operations(plan, env)
    conflicts = [document.problem(one.path, one.message) for one in find_conflicts(plan, operations)]
    if conflicts:
        raise ConfigError(in_line_order(conflicts))
    warnings = [*doubt, *find_advice(plan)]
    shown = tuple(ConfigWarning(document.line_of(key), dotted(key), message) for key, message in warnings)
    return LoadedPlan(plan, path, hashlib.sha256(data).hexdigest()[:12], shown)


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
