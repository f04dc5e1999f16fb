"""When a worker counts as hung."""

from proxy.supervisor.silence import HUNG_AFTER_S, Silence


def test_silence_grows_while_the_supervisor_looks_and_ends_with_a_word() -> None:
    silence = Silence(100.0)
    assert [round(silence.look(100.0 + at / 10), 1) for at in range(1, 4)] == [0.1, 0.2, 0.3]
    silence.heard()
    assert round(silence.look(100.4), 1) == 0.1
    assert repr(silence) == "<Silence 0.1s>"


def test_a_supervisor_that_was_late_itself_blames_nobody() -> None:
    silence = Silence(0.0)
    silence.look(0.05)
    assert silence.look(3600.0) < 1.0
    assert silence.look(3600.0 + HUNG_AFTER_S) < HUNG_AFTER_S
