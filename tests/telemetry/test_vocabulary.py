"""Every event that is logged and every field of an access line is explained, and nothing else is."""

import ast
import json
from collections import defaultdict
from pathlib import Path

import proxy
from proxy.telemetry.access_log import AccessEntry, render_json
from proxy.telemetry.vocabulary import ACCESS_FIELDS, EVENTS

PROXY = Path(proxy.__file__).parent  # as installed, where that is what is tested
LEVELS = {"debug", "info", "warning", "error"}
HEARERS = {"audit", "tell"}  # names that stand for a level's method
OWN_OUTPUT = ("cli", "demo")  # these talk to people, not to the log


def calls_that_log():
    """Event names, with the level and the fields of each call; None for a level that is chosen when it runs."""
    for path in PROXY.rglob("*.py"):
        if path.relative_to(PROXY).parts[0] in OWN_OUTPUT:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            if isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS:
                level = node.func.attr
            elif isinstance(node.func, ast.Name) and node.func.id in HEARERS:
                level = None
            else:
                continue
            first = node.args[0]
            texts = [first.body, first.orelse] if isinstance(first, ast.IfExp) else [first]
            for text in texts:
                assert isinstance(text, ast.Constant), f"{path}:{node.lineno}: what is this event called?"
                yield text.value, level, {keyword.arg for keyword in node.keywords if keyword.arg}


def test_every_event_is_explained_with_its_levels_and_no_other_is():
    levels, fields = defaultdict(set), defaultdict(set)
    for event, level, names in calls_that_log():
        levels[event].update({level} if level else ())
        fields[event].update(names)
    assert levels.keys() == EVENTS.keys()
    for name, event in EVENTS.items():
        assert levels[name] <= set(event.levels), name
        assert set(event.levels) <= LEVELS, name
        assert fields[name] <= set(event.fields), name


def test_every_field_of_an_access_line_is_explained_and_no_other_is():
    entry = AccessEntry(
        ts=0.0,
        request_id=b"1",
        trace_id=b"2",
        method=b"GET",
        path=b"/",
        operation="get",
        bucket=5,
        source="postgresql",
        reason="bucket",
        status=200,
        duration_s=0.1,
        bytes_in=0,
        bytes_out=2,
        attempts=(("image_service", "timeout", None, 0.1),),
        fallback="timeout",
    )
    line = json.loads(render_json(entry, "1970-01-01T00:00:00.000Z", 1024))
    assert line.keys() == ACCESS_FIELDS.keys()
    for name in line["attempts"][0]:
        assert f"`{name}`" in ACCESS_FIELDS["attempts"]
