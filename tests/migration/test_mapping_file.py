"""A mapping's mistakes are said all at once, each with its line and what was meant."""

from pathlib import Path

import pytest

from proxy.migration.mapping_file import load_mapping
from proxy.settings.errors import ConfigError

RIGHT = """\
table: images
key: [id]
version: updatedAt
attributes:
  id: {column: id, type: string}
  updatedAt: {column: updated_at, type: timestamp}
  tags: {column: tags, type: set}
  rank: {template: "{updatedAt}#{id}"}
"""

CASES = [
    ("key: [id]", "kee: [id]", 2, 'kee: unknown key; did you mean "key"?'),
    ("table: images\n", "", 1, "table: required key is missing"),
    ("type: string", "type: sting", 5, 'did you mean "string"?'),
    ("type: string", "typ: string", 5, 'attributes.id.typ: unknown key; did you mean "type"?'),
    ("column: id, type: string", "column: id", 5, 'the type of the column "id" is missing'),
    ("column: id, type: string", "type: string", 5, "exactly one of column, template and constant"),
    ("key: [id]", "key: []", 2, "must name at least one column"),
    ("key: [id]", "key: [id, id]", 2, "names a column twice"),
    ("key: [id]", "key: [tags]", 2, 'no attribute of type string or number is made of "tags"'),
    ("version: updatedAt", "version: updated", 3, 'there is no attribute "updated"; did you mean "updatedAt"?'),
    ("version: updatedAt", "version: tags", 3, "must be a timestamp or a number"),
    ("type: set", "type: set, items: boolean", 7, "a set can hold string, number or binary"),
    ("{updatedAt}#{id}", "{updatedAt}#{idd}", 8, 'there is no attribute "idd"; did you mean "id"?'),
    ("{updatedAt}#{id}", "{tags}", 8, "which has no text"),
    ("{updatedAt}#{id}", "{rank}", 8, "is a template itself"),
    ("{updatedAt}#{id}", "{id", 8, "a brace without its other one"),
    ("type: set", "type: set, when_null: drop", 7, "expected omit, null or reject"),
    ("table: images", "table: 5", 1, "expected text"),
    ("version: updatedAt", "version: updatedAt\nitem_bytes: 500000", 4, "from 1 to 409600"),
    ("version: updatedAt", "version: updatedAt\nversion: id", 4, "duplicate key"),
    ("table: images", "table: ${env:NOT_SET_AT_ALL}", 1, "NOT_SET_AT_ALL is not set"),
]


def write(tmp_path, text):
    path = tmp_path / "mapping.yaml"
    path.write_text(text)
    return path


def test_a_right_one_is_read(tmp_path):
    loaded = load_mapping(write(tmp_path, RIGHT), {})
    assert loaded.mapping.attributes["tags"].items == "string"
    commented = load_mapping(write(tmp_path, f"# a comment\n{RIGHT}"), {})
    changed = load_mapping(write(tmp_path, RIGHT.replace("tags, type: set", "tags, type: list")), {})
    assert loaded.digest == commented.digest != changed.digest


@pytest.mark.parametrize(("right", "wrong", "line", "words"), CASES, ids=[case[3][:40] for case in CASES])
def test_a_mistake_is_said_with_its_line(tmp_path, right, wrong, line, words):
    path = write(tmp_path, RIGHT.replace(right, wrong))
    with pytest.raises(ConfigError) as caught:
        load_mapping(path, {})
    (problem,) = [problem for problem in caught.value.problems if words in str(problem)]
    assert problem.line == line, problem


@pytest.mark.parametrize("text", ["", "[]", "attributes: 5", "\x00", "a: [", "? [x]\n: y"])
def test_what_is_no_mapping_at_all_is_refused(tmp_path, text):
    with pytest.raises(ConfigError):
        load_mapping(write(tmp_path, text), {})


def test_several_mistakes_come_in_line_order(tmp_path):
    path = write(tmp_path, RIGHT.replace("type: string", "typ: string").replace("key: [id]", "kee: [id]"))
    with pytest.raises(ConfigError) as caught:
        load_mapping(path, {})
    lines = [problem.line for problem in caught.value.problems]
    assert lines == sorted(lines)
    assert len(lines) >= 3


def test_the_shipped_mapping_is_valid():
    path = Path(__file__).parents[2] / "config" / "migration.yaml"
    assert load_mapping(path, {}).mapping.table == "images"
