"""Whether a person has changed a section."""

import pytest

from proxy.settings.written import fingerprint_of

TEXT = "legacy: {url: http://a}\nrollout:\n  percentage: ${env:P:-10}\n  users: {target: [a, b]}\n"


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (TEXT, True),
        ("# a comment\n" + TEXT.replace("http://a", "http://b"), True),
        (TEXT.replace("[a, b]", '["a",\n    b]'), True),
        (TEXT.replace("P:-10", "P:-20"), False),
        (TEXT.replace("[a, b]", "[a]"), False),
        (TEXT + "  salt: x\n", False),
        ("legacy: {url: http://a}\n", False),
    ],
)
def test_only_what_is_written_in_the_section_counts(text: str, same: bool) -> None:
    assert (fingerprint_of(text, "rollout") == fingerprint_of(TEXT, "rollout")) is same


def test_a_section_that_is_not_there_has_an_empty_fingerprint() -> None:
    assert fingerprint_of("legacy: {url: http://a}\n", "rollout") == ""
    assert fingerprint_of("", "rollout") == ""
