"""The schema for editors describes every key, is the committed one, and agrees with the loader."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.settings.effective import effective_settings
from proxy.settings.json_schema import config_json_schema, config_json_schema_text
from proxy.settings.load import load_settings

REPOSITORY = Path(__file__).parents[2]
SHIPPED = ["cutover.yaml", "minimal.yaml"]


def objects(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object with known keys, and where it is."""
    if "properties" in schema:
        yield path, schema
        for name, inner in schema["properties"].items():
            yield from objects(inner, f"{path}.{name}")
    if "items" in schema:
        yield from objects(schema["items"], f"{path}[]")


TYPES: dict[str, Any] = {
    "object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "null": type(None),
    "boolean": bool,
}  # fmt: skip


def fits(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    """The part of JSON Schema that this one uses."""
    if "$ref" in schema:
        return fits(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "anyOf" in schema:
        return any(fits(value, one, root) for one in schema["anyOf"])
    if isinstance(value, list):
        return schema.get("type") == "array" and all(fits(item, schema["items"], root) for item in value)
    if isinstance(value, dict):
        return schema.get("type") == "object" and fits_object(value, schema, root)
    return fits_scalar(value, schema)


def fits_object(value: dict[str, Any], schema: dict[str, Any], root: dict[str, Any]) -> bool:
    known, other = schema.get("properties", {}), schema.get("additionalProperties", {})
    return set(schema.get("required", ())) <= set(value) and all(
        fits(item, known[name], root) if name in known else other is not False and fits(item, other, root)
        for name, item in value.items()
    )


def fits_scalar(value: Any, schema: dict[str, Any]) -> bool:
    kind = schema.get("type")
    if kind is not None and (not isinstance(value, TYPES[kind]) or isinstance(value, bool) != (kind == "boolean")):
        return False
    if value not in schema.get("enum", [value]) or value != schema.get("const", value):
        return False
    if isinstance(value, str):
        return re.search(schema.get("pattern", ""), value) is not None
    return value is None or schema.get("minimum", value) <= value <= schema.get("maximum", value)


def test_the_committed_schema_is_up_to_date() -> None:
    committed = (REPOSITORY / "config" / "cutover.schema.json").read_text()
    assert committed == config_json_schema_text(), "run `cutover schema > config/cutover.schema.json`"


def test_every_key_is_described_and_no_other_is_allowed() -> None:
    for path, schema in objects(config_json_schema()):
        assert schema["additionalProperties"] is False, path
        for name, inner in schema["properties"].items():
            assert inner["description"].endswith("."), f"{path}.{name}"


def test_the_two_urls_are_required_and_nothing_else() -> None:
    required = {path: schema["required"] for path, schema in objects(config_json_schema()) if "required" in schema}
    assert required == {
        "": ["legacy", "target"],
        ".legacy": ["url"],
        ".target": ["url"],
        ".operations[]": ["name", "match"],
    }


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_configurations_fit(name: str) -> None:
    path = REPOSITORY / "config" / name
    schema = config_json_schema()
    assert fits(yaml.safe_load(path.read_text()), schema, schema)
    assert fits(effective_settings(load_settings(path, {}).settings), schema, schema)


@pytest.mark.parametrize(
    ("wrong", "value"),
    [
        ("workers", 0),
        ("workers", "many"),
        ("listen", 80),
        ("expose", "on"),
        ("zzz", 1),
        ("rollout", {"percentage": 101}),
    ],
)
def test_what_the_loader_refuses_does_not_fit(wrong: str, value: object) -> None:
    schema = config_json_schema()
    base = {"legacy": {"url": "http://a"}, "target": {"url": "http://b"}}
    assert fits(base, schema, schema)
    assert not fits({**base, wrong: value}, schema, schema)


def test_any_scalar_may_be_a_placeholder() -> None:
    schema = config_json_schema()
    base = {"legacy": {"url": "${env:LEGACY}"}, "target": {"url": "${file:url}"}}
    values = {
        **base,
        "workers": "${env:N:-1}",
        "rollout": {"percentage": "${env:P}", "enabled": "${env:E:-true}"},
    }
    assert fits(values, schema, schema)


def test_defaults_are_written_as_a_file_would() -> None:
    limits = config_json_schema()["properties"]["limits"]["properties"]
    assert limits["header_timeout"]["default"] == "10s"
    assert limits["header_bytes"]["default"] == "32KiB"


def test_it_is_a_valid_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(config_json_schema_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    for name in SHIPPED:
        values = yaml.safe_load((REPOSITORY / "config" / name).read_text())
        jsonschema.Draft202012Validator(schema).validate(values)
