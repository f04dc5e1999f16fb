"""Unquoted scalars have one meaning, YAML 1.2's, without octal and hexadecimal."""

import pytest

from proxy.settings.raw import NumberLike
from proxy.settings.yaml_source import resolve_plain


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None), ("~", None), ("null", None),
        ("true", True), ("FALSE", False),
        ("0", 0), ("10", 10), ("-3", -3), ("+3", 3),
        ("0.5", 0.5), (".5", 0.5), ("5.", 5.0), ("1e3", 1000.0), ("-1.5E-3", -0.0015),
        ("yes", "yes"), ("on", "on"), ("off", "off"), ("y", "y"), ("tRue", "tRue"),
        ("1:30", "1:30"), ("12:30:45", "12:30:45"), ("2024-01-01", "2024-01-01"),
        (".inf", ".inf"), (".nan", ".nan"), ("127.0.0.1", "127.0.0.1"), ("5xx", "5xx"),
        ("5s", "5s"), ("=", "="),
    ],
)  # fmt: skip
def test_a_plain_scalar_is_resolved(text: str, value: object) -> None:
    found = resolve_plain(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", ["007", "010", "1_0", "0x1F", "0o17", "0b1", "1_000.5", "9" * 19])
def test_what_yaml_versions_read_differently_is_neither_number_nor_text(text: str) -> None:
    assert isinstance(resolve_plain(text), NumberLike)
