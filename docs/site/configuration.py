"""The references of the two files: every key of `Settings` and of a rollout's `Plan`, from the models themselves.

Meanings, types and defaults are the model's; ranges of durations and sizes are asked of the reader that the file is
read with. Neighbours: `parts`; `proxy.settings.json_schema`, which describes the same for editors.
"""

import json
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError, PydanticUndefined

from docs.site.tables import code, codes, table
from proxy.rollout.plan import Plan
from proxy.settings.effective import scalar_in, written_value
from proxy.settings.scalars import Scalar
from proxy.settings.schema import RESTART_KEYS, Settings
from proxy.settings.section import Section
from proxy.settings.units import DURATION_PATTERN, SIZE_PATTERN

_HEADER: Final = ("key", "type and range", "default", "meaning")
_LEAST: Final = {DURATION_PATTERN: ("duration", ("0s", "1ms")), SIZE_PATTERN: ("size", ("0B", "1B"))}


class Key(NamedTuple):
    """One key of the file, as it is told of."""

    path: str
    kind: str
    default: str
    meaning: str


def reference() -> str:
    """The sidecar's configuration file."""
    return _reference(Settings)


def plan_reference() -> str:
    """The rollout's plan file."""
    return _reference(Plan)


def _reference(model: type[Section]) -> str:
    """A section for each section of the file; the keys that are no section come first."""
    fields = model.model_fields
    alone = {name: field for name, field in fields.items() if not _sections_of(field)}
    parts = ["## At the top\n\n", _table(key for name, field in alone.items() for key in _keys(name, field))]
    for name, field in fields.items():
        if name not in alone:
            parts += [f"## {name}\n\n", f"{field.description or ''}\n\n", _table(_keys(name, field))]
    return "".join(parts)


def every_key(model: type[Section] = Settings) -> list[Key]:
    """All keys, in the file's order."""
    return [key for name, field in model.model_fields.items() for key in _keys(name, field)]


def _table(keys: Iterator[Key]) -> str:
    rows = [
        # The first cell's link is the row's anchor: what is asked for can be pointed at.
        (f"[{code(key.path)}](#{_anchor(key.path)}){{ #{_anchor(key.path)} }}", key.kind, key.default, key.meaning)
        for key in keys
    ]
    return table(_HEADER, rows)


def _anchor(path: str) -> str:
    return path.replace("[]", "").replace(".", "-")


def _keys(path: str, field: FieldInfo) -> Iterator[Key]:
    sections = _sections_of(field)
    if not sections:
        yield Key(
            path, _kind(field.annotation, scalar_in(None, field.metadata)), _default(field), _meaning(path, field)
        )
        return
    (section,), listed = sections
    for name, inner in section.model_fields.items():
        yield from _keys(f"{path}{'[]' if listed else ''}.{name}", inner)


def _sections_of(field: FieldInfo) -> tuple[tuple[type[Section]], bool] | None:
    """The section that a field is (or may be), or is a list of (True)."""
    annotation = field.annotation
    one = get_args(annotation)[0] if get_args(annotation) else annotation
    if isinstance(one, type) and issubclass(one, Section):
        return (one,), get_origin(annotation) is tuple
    return None


def _meaning(path: str, field: FieldInfo) -> str:
    text = field.description or ""
    return f"{text} **Needs a restart.**" if path in RESTART_KEYS else text


def _default(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True, validated_data={})
    if default is PydanticUndefined:
        return "**required**"
    return code(_written(written_value(default, field.annotation, scalar_in(None, field.metadata))))


def _written(value: Any) -> str:  # noqa: ANN401 - any value of the file
    """A value as the file would say it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_written(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_written, value)) + "]"
    return value if isinstance(value, str) and value else json.dumps(value)


def _kind(annotation: object, scalar: Scalar | None) -> str:
    if scalar is not None:
        return _told(scalar)
    inner = get_args(annotation)
    if len(inner) == 2 and inner[1] is not Ellipsis:
        return f"mapping of names to {_kind(inner[1], scalar_in(inner[1]))}"
    return f"list of {_kind(inner[0], scalar_in(inner[0]))}"


def _told(scalar: Scalar) -> str:
    told = _told_schema(dict(scalar.schema), scalar)
    return f"{told}, or null" if scalar.nullable else told


def _told_schema(schema: dict[str, Any], scalar: Scalar) -> str:
    if "anyOf" in schema:
        return " or ".join(_told_schema(one, scalar) for one in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return codes(
            one if isinstance(one, str) else json.dumps(one) for one in schema.get("enum", [schema.get("const")])
        )
    kind = schema["type"]
    if isinstance(kind, list):
        return "number or duration"
    if kind in ("integer", "number"):
        return f"{'whole number' if kind == 'integer' else 'number'}{_range(schema)}"
    if kind == "string":
        return _told_text(schema, scalar)
    if kind == "array":
        return f"list of: {_told_schema(schema['items'], scalar)}"
    if kind == "object":
        return f"one of {codes(f'{name}: …' for name in schema['properties'])}"
    return "`true`, `false`"


def _range(schema: dict[str, Any]) -> str:
    if "exclusiveMinimum" in schema:
        return f" above {schema['exclusiveMinimum']}, at most {schema['maximum']}"
    if "maximum" in schema:
        return f", {schema['minimum']} to {schema['maximum']}"
    return f" of at least {schema['minimum']}"


def _told_text(schema: dict[str, Any], scalar: Scalar) -> str:
    pattern = schema.get("pattern")
    if pattern in _LEAST:
        kind, candidates = _LEAST[pattern]
        return f"{kind} of at least {next(one for one in candidates if _reads(scalar, one))}"
    return "text"


def _reads(scalar: Scalar, text: str) -> bool:
    try:
        scalar.read(text)
    except PydanticCustomError:
        return False
    return True
