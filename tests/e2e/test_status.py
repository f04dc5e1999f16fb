"""`cutover status` against a real sidecar, once and live on a terminal."""

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Gallery, StartSidecar
from tests.e2e.sidecar import ROOT, Sidecar, command, config, eventually, run_command, write_config

LEGACY, TARGET = "http://127.0.0.1:1", "http://127.0.0.1:2"


def test_the_table_shows_what_the_sidecar_has_counted(gallery: Gallery) -> None:
    for number in range(3):
        gallery.sidecar.ask("GET", f"/images/{number}", [("X-User-Id", "alice")])
    ended = run_command("status", "--admin", f"http://{gallery.sidecar.admin}")
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = ended.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in ended.stdout
    assert "ready" in lines[0]
    assert any("postgresql (legacy)" in line and "image_service (target)" in line for line in lines)
    assert sum(line.startswith("get ") for line in lines) >= 2  # a minute and five
    ended = run_command("status", "--admin", f"http://{gallery.sidecar.admin}", "--json")
    told = json.loads(ended.stdout)
    assert told["sources"]["image_service"]["get"]["5m"]["requests"] >= 3


class Terminal:
    """A command on a terminal of 80 columns and 30 lines."""

    def __init__(self, *arguments: str) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 80, 0, 0))
        os.set_blocking(self._ours, False)
        env = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "NO_COLOR")}
        self.process = subprocess.Popen(
            command(*arguments), cwd=ROOT, env={**env, "TERM": "xterm"}, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        self.text = ""

    def read(self) -> str:
        try:
            while data := os.read(self._ours, 65536):
                self.text += data.decode()
        except OSError:  # nothing there now, or nobody writes any more
            pass
        return self.text

    def since(self, mark: int) -> str:
        return self.read()[mark:]

    def end(self) -> int | None:
        """The exit status, read on until it is there: a terminal that nobody reads holds the last frame back."""
        eventually(lambda: self.read() is not None and self.process.poll() is not None)
        return self.process.poll()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(5)
        os.close(self._ours)


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    opened: list[Terminal] = []
    yield opened
    for terminal in opened:
        terminal.close()


def test_live_it_is_redrawn_in_place_survives_a_restart_and_ends_with_ctrl_c(
    start_sidecar: StartSidecar, tmp_path: Path, terminals: list[Terminal]
) -> None:
    socket = tmp_path / "admin.sock"
    settings = config(LEGACY, TARGET, admin={"listen": f"unix:{socket}"})
    sidecar = start_sidecar(settings)
    live = Terminal("status", "--admin", f"unix:{socket}", "--watch", "--interval", "100ms")
    terminals.append(live)
    assert eventually(lambda: live.read().count("\x1b[H") >= 3)
    assert live.text.startswith("\x1b[?1049h")
    assert "\x1b[32mready" in live.text
    sidecar.stop()
    assert eventually(lambda: "not reachable since" in live.read())
    mark = len(live.text)
    assert eventually(lambda: "100 %" in live.since(mark))  # the last figures stay
    again = Sidecar(write_config(tmp_path / "again.yaml", settings))
    try:
        mark = len(live.read())
        assert eventually(
            lambda: "not reachable" not in live.since(mark).rpartition("\x1b[H")[2].partition("\x1b[J")[0]
        )
        live.process.send_signal(signal.SIGINT)
        assert live.end() == 0
    finally:
        again.stop()
    live.read()
    assert "Traceback" not in live.text
    left = live.text.rpartition("\x1b[?1049l")[2]
    assert "\x1b[?25h" in live.text
    assert "cutover" in left  # the last frame stays to be read


def test_live_elsewhere_it_prints_frames_or_json_lines(gallery: Gallery) -> None:
    for arguments in ((), ("--json",)):
        process = subprocess.Popen(
            command(
                "status", "--admin", f"http://{gallery.sidecar.admin}", "--watch", "--interval", "100ms", *arguments
            ),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        with process.stdout as out:
            first = [out.readline() for _ in range(40 if not arguments else 3)]
            process.send_signal(signal.SIGTERM)
            end = time.monotonic() + 5
            assert process.wait(5) == 0
            assert time.monotonic() < end
        if arguments:
            assert all(json.loads(line)["ready"] for line in first)
        else:
            assert sum("ready" in line for line in first) >= 2
