"""Editing the text: only what is meant changes, whatever the text looks like."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.settings.rollout_text import CannotLocate, edit_text

BASE = "legacy: {url: 'http://a'}\ntarget: {url: 'http://b'}\n"


@dataclass(frozen=True)
class Case:
    name: str
    before: str
    after: str
    written: tuple[str | None, str | None] = (None, None)  # enabled, percentage


CASES = [
    Case(
        "plain values, comments kept in their columns",
        f"{BASE}rollout:\n  enabled: false     # on?\n  percentage: 5      # %\n",
        f"{BASE}rollout:\n  enabled: true     # on?\n  percentage: 10      # %\n",
        ("false", "5"),
    ),
    Case(
        "placeholders, quoted or not",
        "rollout: {enabled: '${env:E:-false}', percentage: \"${env:P:-0}\"}\n",
        "rollout: {enabled: true, percentage: 10}\n",
        ("${env:E:-false}", "${env:P:-0}"),
    ),
    Case("no rollout", BASE, f"{BASE}rollout:\n  enabled: true\n  percentage: 10\n"),
    Case("no rollout, no newline", BASE[:-1], f"{BASE}rollout:\n  enabled: true\n  percentage: 10\n"),
    Case("no rollout, an end mark", f"{BASE}...\n", f"{BASE}rollout:\n  enabled: true\n  percentage: 10\n...\n"),
    Case("no rollout, root indented", "  a: 1\n", "  a: 1\n  rollout:\n    enabled: true\n    percentage: 10\n"),
    Case("no rollout, root a flow", "{a: 1}\n", "{rollout: {enabled: true, percentage: 10}, a: 1}\n"),
    Case("JSON", '{"a": 1}', '{"rollout": {"enabled": true, "percentage": 10}, "a": 1}'),
    Case("JSON, keys", '{"rollout":{"percentage":1}}', '{"rollout":{"enabled": true, "percentage":10}}', (None, "1")),
    Case("empty flow", "rollout: {}\n", "rollout: {enabled: true, percentage: 10}\n"),
    Case("flow", "rollout: { salt: x }\n", "rollout: { enabled: true, percentage: 10, salt: x }\n"),
    Case(
        "a key is missing",
        "rollout: # who\n    # the share\n    percentage: 5\n",
        "rollout: # who\n    enabled: true\n    # the share\n    percentage: 10\n",
        (None, "5"),
    ),
    Case(
        "CRLF",
        "a: 1\r\nrollout:\r\n  salt: x\r\n",
        "a: 1\r\nrollout:\r\n  enabled: true\r\n  percentage: 10\r\n  salt: x\r\n",
    ),
    Case("explicit keys", "? rollout\n: salt: x\n", "? rollout\n: enabled: true\n  percentage: 10\n  salt: x\n"),
    Case(
        "anchors and aliases",
        "a: &t true\nrollout:\n  enabled: *t\n  percentage: &p 5\nb: *p\n",
        "a: &t true\nrollout:\n  enabled: true\n  percentage: &p 10\nb: *p\n",
        ("*t", "5"),
    ),
    Case(
        "other keys of these names are left alone",
        "fallback: {enabled: false}\nrollout: {users: {percentage: 1}, enabled: false, percentage: 5}\npercentage: 3\n",
        "fallback: {enabled: false}\nrollout: {users: {percentage: 1}, enabled: true, percentage: 10}\npercentage: 3\n",
        ("false", "5"),
    ),
    Case(
        "said already",
        "rollout: {enabled: True, percentage: 10}",
        "rollout: {enabled: True, percentage: 10}",
        ("True", "10"),
    ),
    Case(
        "over two lines",
        'rollout:\n  enabled:\n    false\n  percentage: "5\n    "\n',
        "rollout:\n  enabled:\n    true\n  percentage: 10\n",
        ("false", "5 "),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_only_what_is_meant_changes(case: Case) -> None:
    edited = edit_text(case.before, {"enabled": "true", "percentage": "10"})
    assert edited.text == case.after
    assert (edited.written["enabled"], edited.written["percentage"]) == case.written


def test_an_anchor_that_others_follow_is_named() -> None:
    edited = edit_text("rollout:\n  percentage: &p 5\nb: *p\n", {"percentage": "10"})
    assert (edited.text, edited.followed) == ("rollout:\n  percentage: &p 10\nb: *p\n", ("percentage",))


@pytest.mark.parametrize(
    "text",
    [
        "a: &r {percentage: 1}\nrollout: *r\n",
        "rollout:\n  percentage: |\n    ${env:P:-1}\n",
        "- 1\n",
        "a: [\n",
        "{}\n",
        "rollout: 1\n",
    ],
)
def test_what_can_not_be_edited_safely_is_refused(text: str) -> None:
    with pytest.raises(CannotLocate):
        edit_text(text, {"percentage": "10"})


COMMENTS = st.text("# é😀\tx:'\"{}[]&*!|>%@`-", max_size=12).map(lambda text: f" # {text}")
OTHERS = st.sampled_from(
    ["salt: ''", "users: {target: [a, 'b: c'], legacy: []}", "anonymous: client_ip", 'force: {token: "q#\\""}']
)
TOKENS = {
    "enabled": st.sampled_from(
        ["false", "False", "'${env:E:-false}'", '"${env:E:-false}"', "${env:E:-false}", "FALSE"]
    ),
    "percentage": st.sampled_from(["5", "0", "'${env:P:-0}'", "${env:P:-7}", "99", "&p 5"]),
}


@st.composite
def texts(draw: st.DrawFn) -> tuple[str, str]:
    """A text, and the same with the two values set."""
    line_end = draw(st.sampled_from(["\n", "\r\n"]))
    indent = " " * draw(st.integers(1, 6))
    keys = draw(st.permutations([*TOKENS, *draw(st.lists(OTHERS, unique=True))]))
    before, after = [], []
    for key in keys:
        tail = draw(COMMENTS | st.just(""))
        gap = " " * draw(st.integers(1, 3))
        token = draw(TOKENS[key]) if key in TOKENS else ""
        new = {"enabled": "true", "percentage": "&p 42" if token.startswith("&") else "42"}.get(key, "")
        colon = f"{key}:{gap}" if key in TOKENS else key
        for lines, value in ((before, token), (after, new)):
            lines.append(f"{indent}{colon}{value}{tail}")
        blank = draw(st.sampled_from([[], [""], [f"{indent}# é"], ["# at the margin"]]))
        before += blank
        after += blank
    around = [draw(st.lists(COMMENTS.map(str.strip) | st.just(""), max_size=3)) for _ in range(3)]
    legacy, target = BASE.splitlines()
    end = draw(st.sampled_from(["", line_end, line_end * 2]))

    def text(rollout: list[str]) -> str:
        return line_end.join([*around[0], legacy, *around[1], "rollout:", *rollout, *around[2], target]) + end

    return text(before), text(after)


@given(texts())
def test_all_but_the_two_values_stays_byte_for_byte(pair: tuple[str, str]) -> None:
    before, after = pair
    edited = edit_text(before, {"enabled": "true", "percentage": "42"})
    assert edited.text == after
    assert edit_text(edited.text, {"enabled": "true", "percentage": "42"}).text == after
