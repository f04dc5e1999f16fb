"""The JSON Schema (draft 2020-12) of the configuration file as it is written, for editors.

Made from the types that read the file, so it cannot disagree with them; it checks less (no conflicts between
keys). Any scalar may be a placeholder instead. `cutover schema` prints it; `config/` holds a copy.
"""

import json
from typing import Any, Final, get_args

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from proxy.settings.effective import scalar_in, written_value
from proxy.settings.scalars import Scalar
from proxy.settings.schema import Settings
from proxy.settings.section import Section

_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_PLACEHOLDER: Final = {"$ref": "#/$defs/placeholder"}
_PLACEHOLDER_SCHEMA: Final = {
    "type": "string",
    "pattern": r"\$\{(env:[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?|file:[^}]+)\}",
    "description": "Text put in from the environment or from a file when the configuration is read.",
}


def config_json_schema() -> dict[str, Any]:
    """The schema as a JSON-able mapping."""
    return {
        "$schema": _DRAFT,
        "title": "cutover configuration",
        "description": "Moves users from a legacy source to a target, one hash bucket at a time.",
        **_object(Settings),
        "$defs": {"placeholder": _PLACEHOLDER_SCHEMA},
    }


def config_json_schema_text() -> str:
    """The schema as the text of `config/cutover.schema.json`."""
    return json.dumps(config_json_schema(), indent=2, ensure_ascii=False) + "\n"


def _object(section: type[Section]) -> dict[str, Any]:
    fields = section.model_fields
    schema: dict[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: _property(field) for name, field in fields.items()},
    }
    required = [name for name, field in fields.items() if field.is_required()]
    return schema | ({"required": required} if required else {})


def _property(field: FieldInfo) -> dict[str, Any]:
    schema = {"description": field.description, **_schema(field.annotation, scalar_in(None, field.metadata))}
    default = _default(field)
    return schema if default is PydanticUndefined else {**schema, "default": default}


def _schema(annotation: object, scalar: Scalar | None) -> dict[str, Any]:
    if scalar is not None:
        return _scalar(scalar)
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return _object(annotation)
    inner = get_args(annotation)
    if len(inner) == 2 and inner[1] is not Ellipsis:
        name, value = (scalar_in(part) for part in inner)
        names = name.schema if name else {}
        return {"type": "object", "propertyNames": names, "additionalProperties": _schema(inner[1], value)}
    return {"type": "array", "items": _schema(inner[0], scalar_in(inner[0]))}


def _scalar(scalar: Scalar) -> dict[str, Any]:
    """What the file may say: the value, null where it means something, or a placeholder."""
    written = dict(scalar.schema)
    if written.get("type") in ("array", "object"):
        return written
    union = written.get("anyOf")
    forms = union if isinstance(union, list) else [written]
    null = [{"type": "null"}] if scalar.nullable else []
    return {"anyOf": [*forms, *null, _PLACEHOLDER]}


def _default(field: FieldInfo) -> Any:  # noqa: ANN401 - a default is any JSON value
    """The default as the file would say it; a section's are those of its keys."""
    default = field.get_default(call_default_factory=True, validated_data={})
    if default is PydanticUndefined or isinstance(default, Section):
        return PydanticUndefined
    return written_value(default, field.annotation, scalar_in(None, field.metadata))
