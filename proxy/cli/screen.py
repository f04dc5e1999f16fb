"""Draws lines: on a terminal in colour and, when live, each time in the same place; elsewhere as plain text.

Must not know what is drawn. Neighbour: `status`.
"""

import os
import shutil
import signal
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Final, Self, TextIO

Span = tuple[str, str]
"""A text and its style, a key of `_STYLES`."""

Line = list[Span]

_STYLES: Final = {
    "": "",
    "dim": "\x1b[2m",
    "bold": "\x1b[1m",
    "good": "\x1b[32m",
    "warn": "\x1b[33m",
    "bad": "\x1b[1;31m",
}
_RESET: Final = "\x1b[0m"
_OPEN: Final = "\x1b[?1049h\x1b[?25l"  # a screen of its own, without a cursor
_CLOSE: Final = "\x1b[?25h\x1b[?1049l"
_TO_TOP: Final = "\x1b[H"
_TO_LINE_END: Final = "\x1b[K"
_TO_SCREEN_END: Final = "\x1b[J"


def leave_on_sigterm() -> None:
    """Have SIGTERM end as Ctrl-C does, by way of every `finally`, so that the terminal is as before."""

    def leave(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, leave)


class Screen:
    """Shows frames. `with` it when live: the terminal is then as before at the end, and the last frame stays."""

    def __init__(self, out: TextIO, *, live: bool) -> None:
        self._out = out
        self._terminal = out.isatty() and os.environ.get("TERM") != "dumb"
        self._colour = self._terminal and not os.environ.get("NO_COLOR")
        self._live = live and self._terminal
        self._frames = 0
        self._last: Sequence[Line] = ()
        reconfigure = getattr(out, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")

    def __repr__(self) -> str:
        return f"<Screen live={self._live} colour={self._colour} frames={self._frames}>"

    def __enter__(self) -> Self:
        if self._live:
            self._write(_OPEN)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._write(_CLOSE + self._plain(self._last))

    @property
    def width(self) -> int:
        """Columns to fill: those of the terminal, otherwise 80."""
        return shutil.get_terminal_size().columns if self._terminal else 80

    def show(self, lines: Sequence[Line]) -> None:
        """Draw a frame in one write, so that nobody sees half of one."""
        self._last = lines
        self._frames += 1
        if not self._live:
            self._write(("\n" if self._frames > 1 else "") + self._plain(lines))
            return
        rows = max(shutil.get_terminal_size().lines - 1, 1)
        drawn = [self._drawn(line) + _TO_LINE_END for line in lines[:rows]]
        self._write(_TO_TOP + "\r\n".join(drawn) + "\r\n" + _TO_SCREEN_END)

    def _plain(self, lines: Sequence[Line]) -> str:
        return "".join(self._drawn(line) + "\n" for line in lines)

    def _drawn(self, line: Line) -> str:
        """The line cut at the width, with styles if there is colour."""
        left, text = self.width, ""
        for part, style in line:
            cut = part[:left]
            left -= len(cut)
            text += f"{_STYLES[style]}{cut}{_RESET}" if self._colour and style and cut else cut
        return text if self._colour else text.rstrip()

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()
