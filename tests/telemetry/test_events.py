"""Event lines: one each, of the wanted level, without secrets."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.telemetry.events import EventLog
from proxy.telemetry.lines import MAX_LINE
from proxy.telemetry.log_format import DefaultLogging


class Lines(list):
    """Stands for a LineWriter."""

    write = list.append
    flushes = 0

    def flush(self):
        self.flushes += 1

    def __repr__(self):
        return f"<{len(self)} lines>"


def event_log(**settings):
    lines = Lines()
    return EventLog(lines, DefaultLogging(**settings), lambda: 1_700_000_000.5), lines


def test_an_event_is_one_json_object_that_starts_with_time_level_and_event():
    log, lines = event_log()
    log.warning("config_rejected", file=Path("cutover.yaml"), line=3, detail=None, ratio=0.5, keys=("a", "b"))
    (line,) = lines
    told = json.loads(line)
    assert list(told)[:3] == ["ts", "level", "event"]
    assert told == {
        "ts": "2023-11-14T22:13:20.500Z",
        "level": "warning",
        "event": "config_rejected",
        "file": "cutover.yaml",
        "line": 3,
        "detail": None,
        "ratio": 0.5,
        "keys": ["a", "b"],
    }
    assert lines.flushes == 1


@pytest.mark.parametrize(
    ("level", "written"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_the_level_is_honoured(level, written):
    log, lines = event_log(level=level)
    for name in ("debug", "info", "warning", "error"):
        getattr(log, name)("something")
    assert [json.loads(line)["level"] for line in lines] == written


def test_new_settings_hold_from_the_next_event_on():
    log, lines = event_log(level="error")
    log.info("quiet")
    log.apply(DefaultLogging(level="info", format="text"))
    log.info("loud", file="a b", count=2, empty="", plain="x", nested={"a": [1]})
    assert lines == [b'2023-11-14T22:13:20.500Z info loud file="a b" count=2 empty="" plain=x nested={"a":[1]}\n']
    assert repr(log) == "<EventLog level=info format=text <1 lines>>"


def test_secrets_are_masked_whoever_passes_them():
    log, lines = event_log()
    log.info("oops", token="hunter2", Cookie="hunter2", nested={"Authorization": "hunter2"})
    assert b"hunter2" not in lines[0]


def test_fields_cannot_replace_the_head():
    log, lines = event_log()
    log.info("real", event="forged", ts="never", level="none")
    assert json.loads(lines[0]) == {"ts": "2023-11-14T22:13:20.500Z", "level": "info", "event": "real"}


def test_numbers_that_json_has_not_are_told_as_text():
    log, lines = event_log()
    log.info("odd", a=float("inf"), b=float("nan"), c=b"\xff", d={1: {2}})
    told = json.loads(lines[0], parse_constant=pytest.fail)
    assert told["a"] == "inf"
    assert told["b"] == "nan"
    assert told["c"] == "\\xff"
    assert told["d"] == {"1": [2]}


@pytest.mark.parametrize("line_format", ["json", "text"])
@pytest.mark.parametrize(
    "fields",
    [
        {"detail": "x" * 100_000},
        {"detail": "\x1b" * 100_000, "more": "é" * 5000},
        {f"field_{number}": "x" * 500 for number in range(100)},
        {"items": ["y" * 100] * 1000},
    ],
    ids=["long", "escapes", "many", "list"],
)
def test_a_line_is_cut_to_one_atomic_write(fields, line_format):
    log, lines = event_log(format=line_format)
    log.error("big", **fields)
    assert len(lines[0]) <= MAX_LINE
    assert lines[0].count(b"\n") == 1
    assert b"big" in lines[0]


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@pytest.mark.parametrize("line_format", ["json", "text"])
@given(fields=st.dictionaries(st.text(max_size=20), anything, max_size=5), event=st.text(max_size=50))
def test_whatever_is_told_there_is_exactly_one_line(line_format, fields, event):
    log, lines = event_log(format=line_format)
    log.info(event, **fields)
    (line,) = lines
    assert line.endswith(b"\n")
    assert all(0x20 <= byte < 0x7F for byte in line[:-1])
    if line_format == "json":
        assert json.loads(line)["event"] == event
