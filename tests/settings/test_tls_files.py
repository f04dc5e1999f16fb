"""TLS files that do not hold what they should are said at load, with their line."""

from pathlib import Path

import pytest

from proxy.settings.errors import ConfigError
from proxy.settings.load import parse_settings
from tests.e2e.test_tls import new_authority


def problems(directory: Path, tls: str, scheme: str = "https") -> list[str]:
    text = f"legacy: {{url: http://a}}\ntarget:\n  url: {scheme}://b\n  tls:\n    {tls}\n"
    try:
        parse_settings(text.encode(), directory / "c.yaml", {})
    except ConfigError as error:
        return [f"{problem.line} {problem.key}" for problem in error.problems]
    return []


def test_good_files_are_no_problem_and_bad_ones_are_named(tmp_path: Path) -> None:
    authority = new_authority(tmp_path)
    certificate, key = authority.issue("one.test")
    _, other = authority.issue("two.test")
    (tmp_path / "bad").write_text("nothing of the kind\n")
    assert problems(tmp_path, f"ca_file: {authority.file}") == []
    assert problems(tmp_path, f"{{cert_file: {certificate}, key_file: {key}}}") == []
    assert problems(tmp_path, "ca_file: bad") == ["5 target.tls.ca_file"]
    assert problems(tmp_path, "ca_file: bad", scheme="http") == []
    assert problems(tmp_path, f"{{cert_file: {certificate}, key_file: {other}}}") == ["5 target.tls.key_file"]
    assert problems(tmp_path, f"{{cert_file: bad, key_file: {key}}}") == ["5 target.tls.cert_file"]


def test_a_key_with_a_pass_phrase_is_refused_and_not_asked_for(tmp_path: Path) -> None:
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    authority = new_authority(tmp_path)
    certificate, key = authority.issue("one.test")
    loaded = serialization.load_pem_private_key(Path(key).read_bytes(), None)
    encrypted = loaded.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    Path(key).write_bytes(encrypted)
    assert problems(tmp_path, f"{{cert_file: {certificate}, key_file: {key}}}") == ["5 target.tls.cert_file"]
