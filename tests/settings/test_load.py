"""Files that cannot be read, text that is no YAML, bombs: one clear error, never a traceback."""

import hashlib
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.settings import yaml_source
from proxy.settings.errors import ConfigError
from proxy.settings.load import LoadedSettings, load_settings, parse_settings

MINIMAL = b"legacy: {url: 'http://a'}\ntarget: {url: 'http://b'}\n"


def refusal(data: bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_settings(data, Path("c.yaml"), {})
    return str(caught.value)


def test_the_revision_is_the_head_of_the_bytes_hash(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(MINIMAL)
    loaded = load_settings(path, {})
    assert loaded.revision == hashlib.sha256(MINIMAL).hexdigest()[:12]
    assert loaded.path == path
    assert loaded.files == ()


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere.yaml"
    with pytest.raises(ConfigError) as caught:
        load_settings(missing, {})
    assert str(caught.value) == f"{missing}: no such file"
    with pytest.raises(ConfigError, match="is a directory, not a configuration file"):
        load_settings(tmp_path, {})
    with pytest.raises(ConfigError, match="not a usable path"):
        load_settings(Path("a\0b"), {})
    path = tmp_path / "c.yaml"
    path.write_bytes(MINIMAL)
    with pytest.raises(ConfigError, match="cannot be read: Not a directory"):
        load_settings(path / "x", {})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(MINIMAL)
    path.chmod(stat.S_IWUSR)
    with pytest.raises(ConfigError, match="cannot be read: Permission denied"):
        load_settings(path, {})


def test_a_file_over_one_mebibyte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(MINIMAL + b"#" * (1 << 20))
    with pytest.raises(ConfigError, match="is larger than 1 MiB"):
        load_settings(path, {})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "c.yaml:1: the file is empty; legacy.url and target.url are required"),
        (b"# only a comment\n", "c.yaml:1: the file is empty"),
        (b"---\n", "c.yaml:1: the file is empty"),
        (b"- a\n", "c.yaml:1: expected a mapping (keys and values), got a list"),
        (b"hello\n", "c.yaml:1: expected a mapping (keys and values), got text"),
        (b"a: 1\nb: \xff\n", "c.yaml:2: not valid UTF-8"),
        (b"a: 1\nb: \x07\n", "c.yaml:2: the character '\\x07' is not allowed in YAML"),
        (MINIMAL + b"---\nlegacy: 1\n", "c.yaml:3: a second document starts here"),
        (b"a: [1, 2\nb: 3\n", "c.yaml:2: not valid YAML at column "),
        (
            b"a: b: c\n",
            "c.yaml:1: not valid YAML at column 5: mapping values are not allowed in this context",
        ),
        (b"a:\n\tb: 1\n", "indent with spaces, not with tabs"),
        (b'a: "x\n', "not valid YAML at column"),
        (b"a: {b: ${env:X}}\n", "inside [ ] or { }, put a value that holds ${\u2026} in quotes"),
        (b"a: *nobody\n", "c.yaml:1: the alias *nobody has no finished anchor before it"),
        (b"a: &a [*a]\n", "c.yaml:1: the alias *a has no finished anchor before it"),
        (
            b"a: !!python/object:os.system x\n",
            "c.yaml:1: a: tags (words that start with !) are not supported",
        ),
        (b"a: !!set {x}\n", "c.yaml:1: a: tags"),
        (b"!x a: 1\n", "c.yaml:1: tags"),
        (b"a: " + b"[" * 100_000, "c.yaml:1: nested more than 32 levels deep"),
        (b"a: " + b"{b: " * 1000, "c.yaml:1: nested more than 32 levels deep"),
    ],
)
def test_what_is_no_configuration_is_refused_with_its_line(data: bytes, message: str) -> None:
    assert message in refusal(data)


def test_an_alias_bomb_is_refused_before_it_grows() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    assert "its aliases expand to more than 200000 values" in refusal("\n".join(lines).encode())


def test_aliases_that_nest_without_end_are_refused() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 60)]
    assert "its aliases nest more than 32 levels deep" in refusal("\n".join(lines).encode())


def test_a_flood_of_values_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_source, "MOST_NODES", 100)
    assert "more than 100 values" in refusal(b"a: [" + b"x," * 200 + b"]")


def test_anchors_and_aliases_are_understood() -> None:
    text = b"legacy: {url: 'http://a', timeout: &t 3s}\ntarget: {url: 'http://b', timeout: *t}\n"
    assert parse_settings(text, Path("c.yaml"), {}).settings.target.timeout == 3.0


def test_a_byte_order_mark_and_windows_lines_are_understood() -> None:
    data = b"\xef\xbb\xbf" + MINIMAL.replace(b"\n", b"\r\n")
    assert parse_settings(data, Path("c.yaml"), {}).settings.legacy.url.host == "a"


def test_without_libyaml_files_read_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_source.yaml, "__with_libyaml__", False)
    assert parse_settings(MINIMAL, Path("c.yaml"), {}).settings.target.url.host == "b"
    assert "not valid YAML at column" in refusal(b"a: [1, 2\nb: 3\n")
    assert "nested more than 32" in refusal(b"a: " + b"[" * 100_000)


PIECES = st.sampled_from(
    [
        *(
            "legacy",
            "target",
            "url",
            "rollout",
            "operations",
            "users",
            "percentage",
            "headers",
            "set",
            "http://a",
        ),
        *(
            "10",
            "~",
            "!!int",
            "&a ",
            "*a",
            "<<",
            "|",
            ">",
            ",",
            "? ",
            "#",
            "---",
            ":",
            "{",
            "}",
            "[",
            "]",
            "'",
        ),
        *('"', "${", "env:X", ": ", "- ", "  ", "\n", "\n  "),
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.lists(PIECES, max_size=40).map(lambda parts: "".join(parts).encode()))
def test_whatever_the_bytes_nothing_but_a_config_error_comes_out(data: bytes) -> None:
    try:
        loaded = parse_settings(data, Path("c.yaml"), {"X": "x"})
    except ConfigError as exc:
        outcome: object = str(exc)
    else:
        outcome = loaded
    assert isinstance(outcome, LoadedSettings) or outcome


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
SECTIONS = ("listen", "workers", "admin", "legacy", "target", "rollout", "operations", "fallback", "limits")


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from((*SECTIONS, "forwarded", "expose", "logging")), JSON, max_size=4))
def test_whatever_the_shape_nothing_but_a_config_error_comes_out(values: dict[str, object]) -> None:
    text = yaml_source.yaml.safe_dump(values, allow_unicode=True)
    with pytest.raises(ConfigError):  # the urls are never right
        parse_settings(text.encode("utf-8", "replace"), Path("c.yaml"), {})
