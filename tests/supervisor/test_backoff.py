"""When a worker that died is replaced."""

from proxy.supervisor.backoff import Backoff


def test_the_first_replacement_is_immediate_and_early_deaths_double_the_pause_up_to_10_s() -> None:
    backoff = Backoff()
    delays = [backoff.delay_after(1.0) for _ in range(10)]
    assert delays == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    assert repr(backoff) == "<Backoff next=10s>"


def test_a_worker_that_lived_long_is_replaced_at_once_again() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.delay_after(0.5)
    assert backoff.delay_after(10.0) == 0.0
    assert backoff.delay_after(9.9) == 0.1
