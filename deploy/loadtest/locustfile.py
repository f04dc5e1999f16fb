"""A load of gallery users for a deployment of cutover, and the epic's targets as pass or fail.

Run it with `locust -f deploy/loadtest/locustfile.py --headless --host URL …`; the README beside this file says how
to choose the numbers and how to read the outcome. Exit status 0: every target was met; 1: one was missed, or too
little was asked to tell.

Each simulated user keeps one id, so cutover sends all their requests to one source. Users act at a constant pace
whether the gallery is fast or slow: the rate of arrivals is users / pace, as long as an answer takes less than the
pace.
"""

import itertools
import random
import sys
from argparse import ArgumentParser
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import gevent
from locust import FastHttpUser, constant_pacing, events, task
from locust.contrib.fasthttp import FastResponse
from locust.env import Environment
from locust.runners import WorkerRunner
from locust.stats import StatsEntry

MIX: Final = {"get": 80, "list": 17, "upload": 3}
TARGETS_MS: Final = {"get": 50.0, "list": 100.0, "upload": 1000.0}
METHODS: Final = {"get": "GET", "list": "GET", "upload": "POST"}
MOST_ERRORS: Final = 0.001
FEWEST: Final = 20
KNOWN_IMAGES: Final = 30
_MISSED: Final = 1


@events.init_command_line_parser.add_listener
def _add_arguments(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("gallery")
    group.add_argument("--pace", type=float, default=5.0, help="seconds from one action of a user to the next")
    group.add_argument("--user-format", default="user-{:03d}", help="a user's id, made of a number")
    group.add_argument("--first-user", type=int, default=1, help="the first user's number")
    group.add_argument("--no-uploads", action="store_true", help="read only: leave the data as it is")
    for operation, target_ms in TARGETS_MS.items():
        text = f"most milliseconds for the 95th percentile of {operation}"
        group.add_argument(f"--{operation}-p95", type=float, default=target_ms, help=text)
    group.add_argument("--most-errors", type=float, default=MOST_ERRORS, help="most errors as a share of all requests")


class GalleryUser(FastHttpUser):
    """Somebody who looks at their own images, sometimes at the list of them, and now and then uploads one."""

    numbers: Iterator[int] = itertools.count()
    connection_timeout = 10.0
    network_timeout = 10.0

    def wait_time(self) -> float:
        """Keep the pace, whatever the last answer took."""
        return float(constant_pacing(self._options.pace)(self))

    @property
    def _options(self) -> Any:  # noqa: ANN401 - argparse's namespace
        return self.environment.parsed_options

    def on_start(self) -> None:
        """Take an id, and wait for a moment of one's own, so that users do not act in step."""
        options = self._options
        number = options.first_user + next(self.numbers)
        runner = self.environment.runner
        if isinstance(runner, WorkerRunner):  # each worker takes ids of its own
            number = options.first_user + (number - options.first_user) * 1000 + runner.worker_index
        self.user_id = options.user_format.format(number)
        self.headers = {"X-User-Id": self.user_id, "Accept": "application/json"}
        self.images: deque[str] = deque(maxlen=KNOWN_IMAGES)
        self.uploaded: list[str] = []
        self._operations = [each for each in MIX if each != "upload" or not options.no_uploads]
        self._weights = [MIX[each] for each in self._operations]
        gevent.sleep(random.uniform(0, options.pace))  # noqa: S311 - spreads arrivals

    def on_stop(self) -> None:
        """Delete what was uploaded; this is not judged."""
        for image_id in self.uploaded:
            self.client.delete(f"/images/{image_id}", headers=self.headers, name="clean up")

    @task
    def act(self) -> None:
        """Do one thing of the mix; who knows no image yet looks at the list first."""
        operation = random.choices(self._operations, self._weights)[0]  # noqa: S311 - a simulation
        if operation == "get" and not self.images:
            operation = "list"
        {"get": self._get, "list": self._list, "upload": self._upload}[operation]()

    def _get(self) -> None:
        image_id = random.choice(self.images)  # noqa: S311 - a simulation
        with self.client.get(f"/images/{image_id}", headers=self.headers, name="get", catch_response=True) as response:
            if response.status_code != 200:
                response.failure(f"status {response.status_code}")
            elif _document(response).get("id") != image_id:
                response.failure("another image")

    def _list(self) -> None:
        with self.client.get(
            f"/images?userId={self.user_id}", headers=self.headers, name="list", catch_response=True
        ) as response:
            items = _document(response).get("items") if response.status_code == 200 else None
            if items is None:
                response.failure(f"status {response.status_code}")
            else:
                self.images.extend(item["id"] for item in items)

    def _upload(self) -> None:
        document = {
            "userId": self.user_id,
            "title": "Load test",
            "url": "https://images.example.com/load-test.jpg",
            "width": 1600,
            "height": 1200,
            "sizeBytes": 345678,
        }
        with self.client.post(
            "/images", json=document, headers=self.headers, name="upload", catch_response=True
        ) as response:
            image_id = _document(response).get("id") if response.status_code == 201 else None
            if image_id is None:
                response.failure(f"status {response.status_code}")
            else:
                self.uploaded.append(image_id)


def _document(response: FastResponse) -> dict[str, Any]:
    """The answer's JSON object; an empty one when it is none."""
    try:
        found = response.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


@dataclass(frozen=True, slots=True)
class Check:
    """One target and what was found."""

    name: str
    found: str
    bound: str
    passed: bool


def judge(environment: Environment) -> list[Check]:
    """Every target, judged on all requests of the run."""
    options = environment.parsed_options
    operations = [each for each in MIX if each != "upload" or not options.no_uploads]
    entries = {each: environment.stats.get(each, METHODS[each]) for each in operations}
    checks = [_latency_check(name, entry, getattr(options, f"{name}_p95")) for name, entry in entries.items()]
    requests = sum(entry.num_requests for entry in entries.values())
    errors = sum(entry.num_failures for entry in entries.values())
    ratio = errors / requests if requests else 1.0
    bound = f"< {options.most_errors:.2%}"
    return [*checks, Check("errors", f"{ratio:.3%} ({errors} of {requests})", bound, ratio < options.most_errors)]


def _latency_check(name: str, entry: StatsEntry, bound_ms: float) -> Check:
    bound = f"< {bound_ms:g} ms"
    if entry.num_requests < FEWEST:
        return Check(f"{name} p95", f"only {entry.num_requests} requests, {FEWEST} needed", bound, passed=False)
    p95_ms = entry.get_response_time_percentile(0.95)
    return Check(f"{name} p95", f"{p95_ms:g} ms of {entry.num_requests} requests", bound, p95_ms < bound_ms)


@events.quitting.add_listener
def _decide(environment: Environment, **_: object) -> None:
    if isinstance(environment.runner, WorkerRunner):
        return
    checks = judge(environment)
    for check in checks:
        verdict = "pass" if check.passed else "FAIL"
        sys.stdout.write(f"{verdict}  {check.name:<11} {check.bound:<10} {check.found}\n")
    environment.process_exit_code = 0 if all(check.passed for check in checks) else _MISSED
