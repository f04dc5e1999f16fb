"""Access lines: one each, readable by a machine whatever a client sent, and only those that are wanted."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.telemetry.access_log import MAX_PATH_BYTES, AccessEntry, AccessLog
from proxy.telemetry.lines import MAX_LINE
from proxy.telemetry.log_format import DefaultLogging, Timestamps, bare, json_string


class Lines(list):
    """Stands for a LineWriter."""

    write = list.append

    def __repr__(self):
        return f"<{len(self)} lines>"


def entry(**changes):
    values = {
        "ts": 1_700_000_000.123,
        "request_id": b"0af7651916cd43dd8448eb211c80319c",
        "trace_id": b"4bf92f3577b34da6a3ce929d0e0e4736",
        "method": b"GET",
        "path": b"/images/1?token=secret",
        "operation": "get",
        "bucket": 42,
        "source": "image_service",
        "reason": "bucket",
        "status": 200,
        "duration_s": 0.0123456,
        "bytes_in": 0,
        "bytes_out": 512,
        "attempts": (("image_service", "ok", 200, 0.012),),
    }
    return AccessEntry(**{**values, **changes})


def lines_of(*entries, **settings):
    lines = Lines()
    log = AccessLog(lines, DefaultLogging(**settings))
    for each in entries:
        log.record(each)
    return lines


def test_a_line_has_the_fields_of_the_contract():
    (line,) = lines_of(entry())
    assert json.loads(line) == {
        "ts": "2023-11-14T22:13:20.123Z",
        "level": "info",
        "event": "request",
        "request_id": "0af7651916cd43dd8448eb211c80319c",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "method": "GET",
        "path": "/images/1",
        "operation": "get",
        "bucket": 42,
        "source": "image_service",
        "reason": "bucket",
        "status": 200,
        "duration_ms": 12.346,
        "bytes_in": 0,
        "bytes_out": 512,
        "attempts": [{"source": "image_service", "outcome": "ok", "status": 200, "ms": 12.0}],
    }
    assert list(json.loads(line))[:3] == ["ts", "level", "event"]


def test_a_fallback_and_its_attempts_are_told():
    attempts = (("image_service", "timeout", None, 5.0), ("postgresql", "ok", 200, 0.02))
    (line,) = lines_of(entry(attempts=attempts, fallback="timeout", bucket=None, source="postgresql"))
    told = json.loads(line)
    assert told["fallback"] == "timeout"
    assert told["bucket"] is None
    assert told["attempts"] == [
        {"source": "image_service", "outcome": "timeout", "status": None, "ms": 5000.0},
        {"source": "postgresql", "outcome": "ok", "status": 200, "ms": 20.0},
    ]


def test_a_request_that_reached_no_source_has_no_attempts():
    (line,) = lines_of(entry(attempts=(), source="proxy", status=400, path=b"", method=b""))
    assert json.loads(line)["attempts"] == []


@pytest.mark.parametrize("line_format", ["json", "text"])
@given(path=st.binary(max_size=3000), method=st.binary(max_size=200), name=st.text(max_size=30))
def test_whatever_the_path_there_is_exactly_one_line_that_fits(line_format, path, method, name):
    (line,) = lines_of(entry(path=path, method=method, request_id=name, operation=name), format=line_format)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert all(0x20 <= byte < 0x7F for byte in line[:-1])
    assert len(line) <= MAX_LINE
    if line_format == "json":
        told = json.loads(line)
        shown = path.partition(b"?")[0][:MAX_PATH_BYTES].decode("utf-8", "backslashreplace")
        assert shown.startswith(told["path"])
        assert told["path"] == shown or len(told["path"]) >= 64
        assert told["operation"] == name


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (b"/a?b", "/a"),
        (b"/a%3Fb", "/a%3Fb"),
        (b"/" + b"a" * 2000, "/" + "a" * 1023),
        (b"/\r\nevil", "/\r\nevil"),
        (b"/\x1b[31m", "/\x1b[31m"),
        (b'/"\\', '/"\\'),
        ("/é\u2028".encode(), "/é\u2028"),
        (b"/\xff\xfe", "/\\xff\\xfe"),
        (b"*", "*"),
    ],
)
def test_a_path_reads_as_it_was_sent(path, shown):
    (line,) = lines_of(entry(path=path))
    assert json.loads(line)["path"] == shown


def test_a_path_of_escapes_is_cut_further_so_that_the_line_stays_whole():
    (line,) = lines_of(entry(path=b"/" + b"\xff" * 1023))
    assert len(line) <= MAX_LINE
    assert json.loads(line)["path"] == "/" + "\\xff" * 255


def test_the_query_is_never_logged():
    for line_format in ("json", "text"):
        (line,) = lines_of(entry(), format=line_format)
        assert b"secret" not in line


def test_text_lines_are_for_people():
    (line,) = lines_of(entry(fallback="timeout"), format="text")
    assert line == (
        b"2023-11-14T22:13:20.123Z info request GET /images/1 200 12.346ms source=image_service reason=bucket"
        b" operation=get bucket=42 in=0 out=512 fallback=timeout attempts=image_service:ok:200:12.000ms"
        b" request_id=0af7651916cd43dd8448eb211c80319c trace_id=4bf92f3577b34da6a3ce929d0e0e4736\n"
    )


@pytest.mark.parametrize(
    ("access", "sample", "kept"),
    [
        ("all", 1.0, ["plain", "fallback", "broken"]),
        ("all", 0.0, ["fallback", "broken"]),
        ("fallbacks", 1.0, ["fallback"]),
        ("fallbacks", 0.0, ["fallback"]),
        ("off", 1.0, []),
    ],
)
def test_only_the_wanted_requests_get_a_line(access, sample, kept):
    entries = [
        entry(operation="plain"),
        entry(operation="fallback", fallback="timeout"),
        entry(operation="broken", status=502),
    ]
    lines = lines_of(*entries, access=access, sample=sample)
    assert [json.loads(line)["operation"] for line in lines] == kept


def test_sampling_keeps_its_share_and_always_the_same_requests():
    entries = [entry(request_id=b"%032x" % (number * 7919)) for number in range(4000)]
    first = lines_of(*entries, sample=0.25)
    assert 850 < len(first) < 1150
    assert lines_of(*entries, sample=0.25) == first
    assert set(first) <= set(lines_of(*entries, sample=0.5))
    as_text = [entry(request_id=each.request_id.decode()) for each in entries]
    assert len(lines_of(*as_text, sample=0.25)) == len(first)


def test_new_settings_hold_from_the_next_request_on():
    lines = Lines()
    log = AccessLog(lines, DefaultLogging())
    assert log.enabled
    log.record(entry())
    log.apply(DefaultLogging(access="off"))
    assert not log.enabled
    log.record(entry())
    log.apply(DefaultLogging(format="text"))
    log.record(entry())
    assert [line[:1] for line in lines] == [b"{", b"2"]
    assert repr(log) == "<AccessLog access=all sample=1.0 <2 lines>>"


@pytest.mark.parametrize(
    ("epoch_s", "expected"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1_700_000_000.0, "2023-11-14T22:13:20.000Z"),
        (1_700_000_000.9996, "2023-11-14T22:13:20.999Z"),
        (1_709_164_799.5, "2024-02-28T23:59:59.500Z"),
        (4_102_444_800.001, "2100-01-01T00:00:00.001Z"),
    ],
)
def test_time_stamps_are_rfc_3339(epoch_s, expected):
    assert Timestamps().format(epoch_s) == expected


def test_time_stamps_follow_a_clock_that_is_set_back():
    stamps = Timestamps()
    assert stamps.format(100.5) == "1970-01-01T00:01:40.500Z"
    assert stamps.format(99.25) == "1970-01-01T00:01:39.250Z"
    assert stamps.format(99.5) == "1970-01-01T00:01:39.500Z"
    assert repr(stamps) == "<Timestamps 1970-01-01T00:01:39>"


@given(st.integers(0, 4_000_000_000_000))
def test_every_millisecond_is_shown_as_itself(milliseconds):
    shown = Timestamps().format(milliseconds / 1000)
    assert shown.endswith(f".{milliseconds % 1000:03d}Z")


@given(st.text())
def test_no_text_can_break_out_of_its_line(text):
    assert json.loads(json_string(text)) == text
    assert all(0x20 <= ord(character) < 0x7F for character in bare(text))
