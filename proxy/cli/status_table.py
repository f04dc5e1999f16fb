"""Lays out `/status` for people, in 80 columns. Pure: an answer in, lines of styled text out.

It takes the answer for what it is, another program's: a field may be missing, new, or of another shape.
Neighbours: `status` asks, `screen` draws.
"""

import datetime
from collections.abc import Mapping, Sequence
from typing import Any, Final

from proxy.cli.figures import as_count, as_ms, as_rate, as_ratio, as_span
from proxy.cli.screen import Line, Span

_WINDOWS: Final = {"1m": "last minute", "5m": "last 5 minutes"}
_NAME_WIDTH: Final = 10
_BLOCK_WIDTH: Final = 33
_HEADINGS: Final = f"{'reqs':>6}{'/s':>6}{'err':>6} {'p50':>4} {'p95':>4} {'p99':>4}"
_BAR: Final = " │ "
_BAD_RATIO: Final = 0.01
_LABEL_WIDTH: Final = 12
_COLUMN_WIDTH: Final = 38


def not_reachable(url: str, since: float, reason: str) -> list[Line]:
    """What stands above the last figures while nobody answers."""
    at = datetime.datetime.fromtimestamp(since).astimezone().strftime("%H:%M:%S")
    return [[(f"not reachable since {at}: {_clean(reason)} ({url})", "bad")], []]


def status_lines(status: Mapping[str, Any], url: str, now: float, width: int = 80) -> list[Line]:
    """The whole table; `now` in seconds since the epoch."""
    lines = [*_header(status, url, now, width), []]
    sources = _mapping(status.get("sources"))
    roles = [(role, str(name)) for role, name in _mapping(status.get("roles")).items()]
    pair = (roles or [("", name) for name in sources])[:2]
    busy, idle = _operations(sources, pair)
    if not busy:
        return [*lines, [("no requests in the last 5 minutes", "dim")]]
    room = _NAME_WIDTH + min(max(width - 80, 0), 14)
    for window, title in _WINDOWS.items():
        lines += [*_table(sources, pair, busy, (window, title), room), []]
    lines += _fallbacks(sources, busy, room)
    if idle:
        lines.append([("idle", "dim"), (" " * (room - 4), ""), (", ".join(map(_clean, idle)), "dim")])
    return lines if lines[-1] else lines[:-1]


def _header(status: Mapping[str, Any], url: str, now: float, width: int) -> list[Line]:
    title = f"cutover {_clean(status.get('version', ''))}".rstrip() + f" at {url}"
    state = _flag(status.get("ready"), ("ready", "good"), ("not ready", "warn"))
    title = _cut(title, width - len(state[0]) - 2)
    lines: list[Line] = [[(title, "bold"), (" " * (width - len(title) - len(state[0])), ""), state]]
    rollout: Line = [(f"{_clean(status.get('percentage', '?'))} %", "bold"), (", ", "")]
    rollout.append(_flag(status.get("enabled"), ("enabled", "good"), ("not enabled", "warn")))
    facts: list[tuple[str, Line]] = [
        ("rollout", rollout),
        ("revision", [(_clean(status.get("revision", "?")), "")]),
        ("override", _override(status.get("override"))),
        ("kill switch", [("ON: all to legacy", "bad") if status.get("kill_switch") else ("off", "")]),
        ("breaker", _breaker(status.get("breaker"))),
        ("workers", _workers(status.get("workers"))),
    ]
    lines += [_side_by_side(left, right) for left, right in zip(facts[::2], facts[1::2], strict=True)]
    reload = _mapping(status.get("last_reload"))
    lines.append([_label("last reload"), *_last_reload(reload, now)])
    if reload.get("error"):
        lines += [[(f"  {part}", "bad")] for part in str(reload["error"]).splitlines() if part.strip()]
    return [[(_clean(text), style) for text, style in line] for line in lines]


def _side_by_side(left: tuple[str, Line], right: tuple[str, Line]) -> Line:
    used = _LABEL_WIDTH + sum(len(text) for text, _ in left[1])
    gap = " " * max(_COLUMN_WIDTH - used, 2)
    return [_label(left[0]), *left[1], (gap, ""), _label(right[0]), *right[1]]


def _flag(value: object, yes: Span, no: Span) -> Span:
    return yes if value is True else no if value is False else ("?", "dim")


def _label(text: str) -> Span:
    return f"{text:<{_LABEL_WIDTH}}", "dim"


def _override(override: object) -> Line:
    if not override:
        return [("none", "")]
    facts = _mapping(override)
    known = {"percentage": "{} %", "enabled": "enabled {}"}
    shown = [form.format(str(facts[key]).lower()) for key, form in known.items() if key in facts]
    return [(", ".join(shown) or "yes", "warn")]


def _breaker(breaker: object) -> Line:
    state = str(_mapping(breaker).get("state", "?") if isinstance(breaker, Mapping) else breaker or "?")
    return [(state, {"admitting": "good", "probing": "warn", "rejecting": "bad"}.get(state, ""))]


def _workers(workers: object) -> Line:
    each = [_mapping(worker) for worker in workers] if isinstance(workers, Sequence) else []
    if not each:
        return [("?", "")]
    revisions = list(dict.fromkeys(str(worker.get("revision")) for worker in each))
    connections = sum(_number(worker.get("connections")) or 0 for worker in each)
    spans: Line = [(f"{len(each)}, {as_count(connections)} connections", "")]
    if len(revisions) > 1:
        spans.append((f", {len(revisions)} revisions", "warn"))
    return spans


def _last_reload(reload: Mapping[str, Any], now: float) -> Line:
    result = str(reload.get("result", "?"))
    at = _number(reload.get("at"))
    ago = "" if at is None else f", {as_span(now - at)} ago"
    return [(result, "bad" if result == "rejected" else ""), (ago, "")]


def _operations(sources: Mapping[str, Any], pair: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """Those that were asked for in the longest window, and those that were not."""
    named = dict.fromkeys(name for _, source in pair for name in _mapping(sources.get(source)))
    longest = list(_WINDOWS)[-1]
    busy = [
        name for name in named if any(_figures(sources, source, name, longest).get("requests") for _, source in pair)
    ]
    return busy, [name for name in named if name not in busy]


def _table(
    sources: Mapping[str, Any],
    pair: Sequence[tuple[str, str]],
    operations: Sequence[str],
    window: tuple[str, str],
    room: int,
) -> list[Line]:
    key, title = window
    top: Line = [(f"{title:<{room + 5}}"[: room + 5], "dim")]
    headings: Line = [(" " * room, "")]
    for index, (role, source) in enumerate(pair):
        name = f"{_clean(source)} ({_clean(role)})" if role else _clean(source)
        taken = 5 if index == 0 else 0
        bar = _BAR if index else ""
        top += [(bar, "dim"), (f"{name[: _BLOCK_WIDTH - taken]:^{_BLOCK_WIDTH - taken}}", "bold")]
        headings += [(bar, "dim"), (_HEADINGS, "dim")]
    rows: list[Line] = []
    for operation in operations:
        row: Line = [(f"{_cut(operation, room - 1):<{room}}", "")]
        for index, (_, source) in enumerate(pair):
            row += [(_BAR if index else "", "dim"), *_cells(_figures(sources, source, operation, key))]
        rows.append(row)
    return [top, headings, *rows]


def _cells(figures: Mapping[str, Any]) -> Line:
    if not figures.get("requests"):
        return [(f"{'-':>6}".ljust(_BLOCK_WIDTH), "dim")]
    ratio = _number(figures.get("error_ratio"))
    style = "" if not ratio else "bad" if ratio >= _BAD_RATIO else "warn"
    times = "".join(f" {as_ms(_number(figures.get(key))):>4}" for key in ("p50_ms", "p95_ms", "p99_ms"))
    counts = f"{as_count(_number(figures.get('requests'))):>6}{as_rate(_number(figures.get('rate'))):>6}"
    return [(counts, ""), (f"{as_ratio(ratio):>6}", style), (times, "")]


def _fallbacks(sources: Mapping[str, Any], operations: Sequence[str], room: int) -> list[Line]:
    """By operation and reason: how many in five minutes, and how many of them in the last."""
    lines: list[Line] = []
    for operation in operations:
        for source in sources:
            total = _mapping(_figures(sources, source, operation, "5m").get("fallbacks"))
            recent = _mapping(_figures(sources, source, operation, "1m").get("fallbacks"))
            reasons = [
                f"{_clean(reason)} {as_count(_number(count))} ({as_count(_number(recent.get(reason, 0)))} in 1m)"
                for reason, count in sorted(total.items(), key=lambda item: -(_number(item[1]) or 0))
            ]
            if reasons:
                name = f"{_cut(operation, room - 1):<{room}}"
                lines.append([(name, ""), (", ".join(reasons), "warn")])
    return [[("fallbacks in 5 minutes", "dim")], *lines, []] if lines else []


def _figures(sources: Mapping[str, Any], source: str, operation: str, window: str) -> Mapping[str, Any]:
    return _mapping(_mapping(_mapping(sources.get(source)).get(operation)).get(window))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value < 1e18 else None


def _cut(text: str, width: int) -> str:
    clean = _clean(text)
    return clean if len(clean) <= width else f"{clean[: width - 1]}…"


def _clean(value: object) -> str:
    """Text without characters that a terminal would obey."""
    return "".join(character if character.isprintable() else "?" for character in str(value))
