"""Does a contestant do the work at all? Asked before it is measured."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bench.compare.contestants.base import Setup
from bench.compare.upstreams import BODIES, FAILING
from bench.compare.wire import Answer, Connection

USERS: Final = [f"user-{n}" for n in range(1000)]
SMALL: Final = "/images/500B"
SLACK: Final = 0.06
FALLBACK_USERS: Final = 60


class NotTheSame(Exception):
    """A contestant does not do what the others do; the message says what."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What was seen: the share of users at the target, and who those are."""

    share: float
    movers: list[str]


@contextlib.contextmanager
def _connection(port: int) -> Iterator[Connection]:
    connection = Connection(port)
    try:
        yield connection
    finally:
        connection.close()


def verify_split(setup: Setup) -> Findings:
    """Both upstreams get their share, and the same user always gets the same one. Raises NotTheSame."""
    with _connection(setup.port) as connection:
        seen = [[_right(connection.ask(SMALL, user)).backend for user in USERS] for _ in range(2)]
    if seen[0] != seen[1]:
        moved = sum(a != b for a, b in zip(*seen, strict=True))
        raise NotTheSame(f"not sticky: {moved} of {len(USERS)} users moved")
    if not set(seen[0]) <= {"legacy", "target"}:
        raise NotTheSame(f"answers from {sorted(set(seen[0]))}")
    share = seen[0].count("target") / len(USERS)
    if abs(share - setup.percentage / 100) > SLACK:
        raise NotTheSame(f"{share:.1%} of the users are at the target, not {setup.percentage} %")
    return Findings(share, [user for user, backend in zip(USERS, seen[0], strict=True) if backend == "target"])


def verify_fallback(setup: Setup, movers: list[str]) -> None:
    """Users of the target are answered by legacy when it says 503, and when it is gone. Raises NotTheSame.

    Takes the target down and starts it again; the contestant may think ill of it afterwards.
    """
    users = movers[:FALLBACK_USERS]
    with _connection(setup.port) as connection:
        _expect_legacy([connection.ask(FAILING, user) for user in users[:3]], "when the target answers 503")
        time.sleep(0.1)
        setup.target.stop()
        try:
            _expect_legacy([connection.ask(SMALL, user) for user in users], "when the target is down")
        finally:
            setup.target.start()


def _right(answer: Answer) -> Answer:
    if answer.status != 200 or answer.body_bytes != BODIES["500B"]:
        raise NotTheSame(f"status {answer.status} with {answer.body_bytes} bytes, not 200 with 500")
    return answer


def _expect_legacy(answers: list[Answer], when: str) -> None:
    wrong = [each for each in answers if each.status != 200 or each.backend != "legacy"]
    if wrong:
        raise NotTheSame(f"no fallback {when}: {len(wrong)} of {len(answers)} wrong, the first {wrong[0]}")
