"""One live line about what is being measured; on anything but a terminal, a line for each stage."""

import shutil
import sys
import time
from typing import Final

LONG_S: Final = 60


class Progress:
    """Counts steps and says how long it may take."""

    def __init__(self, steps: int) -> None:
        self._steps, self._done, self._start = steps, 0, time.monotonic()
        self._live = sys.stderr.isatty()

    def say(self, text: str) -> None:
        """What is being done, for the moment."""
        if self._live:
            self._draw(text)

    def step(self, text: str, result: str) -> None:
        """A measurement is done."""
        self._done += 1
        if self._live:
            self._draw(f"{text}: {result}")

    def note(self, text: str) -> None:
        """Something that stays to be read."""
        self.clear()
        print(text, file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self._live:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def _draw(self, text: str) -> None:
        spent = time.monotonic() - self._start
        left = spent / self._done * (self._steps - self._done) if self._done else 0
        about = f", {left / LONG_S:.0f} min left" if left > LONG_S else f", {left:.0f} s left" if left else ""
        line = f"[{self._done}/{self._steps}{about}] {text}"
        print("\r\x1b[K" + line[: shutil.get_terminal_size().columns - 1], end="", file=sys.stderr, flush=True)
