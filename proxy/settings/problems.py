"""What validation found, in the words of the person who wrote the file.

Pydantic's own wording never gets out: every error type is translated here, and values are not shown unless
a reader in `scalars` decided to. Neighbours: `document` knows the lines, `load` raises the result.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from proxy.settings.conflicts import CONFLICTS, Conflict
from proxy.settings.document import Document
from proxy.settings.errors import ConfigProblem, KeyPath
from proxy.settings.raw import BROKEN, kind_of
from proxy.settings.schema import Settings
from proxy.settings.section import Section
from proxy.settings.suggest import nearest

_STANDS_IN_FOR_A_URL: Final = "http://stand-in.invalid"


def validate(document: Document) -> tuple[Settings | None, tuple[ConfigProblem, ...]]:
    """The settings of a document, or None and everything that is wrong with it beyond `document.problems`."""
    try:
        return _settings(document.tree, document), ()
    except ValidationError as exc:
        errors = exc.errors(include_url=False)
    found = [problem for error in errors for problem in _translate(error, document)]
    if not any(error["type"] == CONFLICTS for error in errors):
        found += _conflicts_despite(errors, document)
    return None, tuple(found)


def _settings(tree: object, document: Document) -> Settings:
    return Settings.model_validate(tree, context={"directory": document.path.parent})


def _translate(error: ErrorDetails, document: Document) -> Iterator[ConfigProblem]:
    path = _path_of(error)
    if error["input"] is BROKEN or error["type"] == "reported":
        return
    if error["type"] == CONFLICTS:
        yield from (document.problem(one.path, one.message) for one in _conflicts_in(error))
    elif error["type"] == "rejected":
        yield document.problem(path, error["ctx"]["message"], error["ctx"]["hint"])
    elif error["type"] == "extra_forbidden":
        yield document.problem(path, "unknown key", _suggestion(path))
    elif error["type"] == "missing":
        yield document.problem(path, "required key is missing")
    elif error["type"] in ("tuple_type", "list_type"):
        yield document.problem(path, f"expected a list, got {kind_of(error['input'])}")
    elif error["type"] in ("model_type", "model_attributes_type", "mapping_type", "dict_type"):
        hint = "leave the key out for its defaults" if error["input"] is None and path else None
        yield document.problem(path, f"expected a mapping (keys and values), got {kind_of(error['input'])}", hint)
    else:
        yield document.problem(path, "not a valid value")


def _path_of(error: ErrorDetails) -> KeyPath:
    """Where it is in the file; pydantic adds a marker for a mapping's own key."""
    return tuple(part for part in error["loc"] if part != "[key]")


def _conflicts_in(error: ErrorDetails) -> tuple[Conflict, ...]:
    conflicts: tuple[Conflict, ...] = error["ctx"]["conflicts"]
    return conflicts


def _conflicts_despite(errors: Sequence[ErrorDetails], document: Document) -> Iterator[ConfigProblem]:
    """Conflicts among the values that are right, when others are wrong: pydantic stops before it compares.

    Defaults stand in for the wrong values; a conflict that touches one of those is not believed.
    """
    if not isinstance(document.tree, dict):
        return
    wrong = {_path_of(error) for error in errors}
    tree = _without(document.tree, (), frozenset(_up_to_list(path) for path in wrong))
    above_wrong = {place for path in wrong for place in _prefixes(path)}
    for role in ("legacy", "target"):
        tree.setdefault(role, {}).setdefault("url", _STANDS_IN_FOR_A_URL)
    try:
        _settings(tree, document)
    except ValidationError as exc:
        for error in exc.errors(include_url=False):
            for conflict in _conflicts_in(error) if error["type"] == CONFLICTS else ():
                touched = any(
                    path in above_wrong or not wrong.isdisjoint(_prefixes(path))
                    for path in (conflict.path, *conflict.others)
                )
                if not touched:
                    yield document.problem(conflict.path, conflict.message)


def _without(tree: dict[str, Any], at: KeyPath, paths: frozenset[KeyPath]) -> dict[str, Any]:
    """A copy of the mappings in `tree` without the keys at `paths`."""
    return {
        key: _without(value, (*at, key), paths) if isinstance(value, dict) else value
        for key, value in tree.items()
        if (*at, key) not in paths
    }


def _up_to_list(path: KeyPath) -> KeyPath:
    """The path cut before its first list index: leaving out one item would renumber the others."""
    index = next((at for at, part in enumerate(path) if isinstance(part, int)), len(path))
    return path[:index]


def _prefixes(path: KeyPath) -> tuple[KeyPath, ...]:
    """The path and every key around it."""
    return tuple(path[:length] for length in range(1, len(path) + 1))


def _suggestion(path: KeyPath) -> str | None:
    """The key that an unknown one was probably meant to be, here or elsewhere."""
    *parents, word = path
    meant = nearest(str(word), _keys_of(_section_at(tuple(parents))))
    if meant is None:
        places = [place for place in _all_keys(Settings) if place.rpartition(".")[2] == word]
        meant = places[0] if len(places) == 1 else None
    return f'did you mean "{meant}"?' if meant else None


def _keys_of(section: type[Section] | None) -> tuple[str, ...]:
    return tuple(section.model_fields) if section else ()


def _section_at(path: KeyPath) -> type[Section] | None:
    section: type[Section] | None = Settings
    for part in path:
        if isinstance(part, str) and section is not None:
            field = section.model_fields.get(part)
            section = _section_in(field.annotation) if field else None
    return section


def _section_in(annotation: object) -> type[Section] | None:
    """The section a field holds, itself or as the items of its list."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, Section):
            return candidate
    return None


def _all_keys(section: type[Section], prefix: str = "") -> Iterator[str]:
    for name, field in section.model_fields.items():
        yield prefix + name
        inner = _section_in(field.annotation)
        if inner is not None and get_origin(field.annotation) is None:
            yield from _all_keys(inner, f"{prefix}{name}.")
