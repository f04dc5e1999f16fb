"""Drawing: colour on a terminal only, live without flicker, and the terminal as before at the end."""

import io

import pytest

from proxy.cli.screen import Line, Screen

FRAME: list[Line] = [[("good ", "good"), ("news", "")], [("x" * 100, "")]]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("LINES", "4")


def test_elsewhere_it_is_plain_text_in_80_columns() -> None:
    out = io.StringIO()
    with Screen(out, live=True) as screen:
        screen.show(FRAME)
        screen.show(FRAME[:1])
    assert out.getvalue() == f"good news\n{'x' * 80}\n\ngood news\n"
    assert repr(screen) == "<Screen live=False colour=False frames=2>"


def test_a_terminal_has_colour_and_its_own_width() -> None:
    out = Terminal()
    Screen(out, live=False).show(FRAME)
    assert out.getvalue() == f"\x1b[32mgood \x1b[0mnews\n{'x' * 60}\n"


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colour_can_be_turned_off(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    out = Terminal()
    Screen(out, live=False).show(FRAME[:1])
    assert out.getvalue() == "good news\n"


def test_live_frames_are_drawn_over_each_other_and_the_last_one_stays() -> None:
    out = Terminal()
    with Screen(out, live=True) as screen:
        assert out.getvalue() == "\x1b[?1049h\x1b[?25l"
        screen.show(FRAME * 5)
        drawn = out.getvalue()
        assert drawn.count("\n") == 3  # no more than fit
        assert "\x1b[2J" not in drawn  # what erases everything first flickers
        screen.show(FRAME[:1])
    end = out.getvalue().removeprefix(drawn)
    assert end.startswith("\x1b[H")
    assert end.endswith("\x1b[?25h\x1b[?1049l\x1b[32mgood \x1b[0mnews\n")


def test_the_terminal_is_restored_after_ctrl_c() -> None:
    out = Terminal()
    with pytest.raises(KeyboardInterrupt), Screen(out, live=True):
        raise KeyboardInterrupt
    assert out.getvalue().endswith("\x1b[?1049l")
