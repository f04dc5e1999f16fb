"""Who answers whom: the decision of contract section 3, seen from outside."""

import json
from pathlib import Path

import mmh3
import pytest

from tests.e2e.conftest import Gallery, StartServer, StartSidecar
from tests.e2e.sidecar import config, eventually
from tests.e2e.wire import Wire

USERS = [f"user-{number}" for number in range(250)] + ["Ünal", "日本", "a b", '"quoted"', "x" * 200]
TOKEN = "force-token-5417"
NAMES = {"legacy": "postgresql", "target": "image_service"}


def bucket(user: str, salt: str = "") -> int:
    return mmh3.hash(f"{salt}:{user}" if salt else user, 0, signed=False) % 100


def as_field(user: str) -> str:
    return user.encode().decode("latin-1")


@pytest.fixture(scope="module")
def split(lasting: tuple[StartServer, StartSidecar], tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    start_server, start_sidecar = lasting
    legacy, target = start_server("legacy"), start_server("target")
    settings = config(
        legacy.url,
        target.url,
        target={"timeout": "10s", "connect_timeout": "10s"},  # what is asked here is who, not how soon
        rollout={
            "percentage": 0,
            "users": {"target": ["vip"], "legacy": ["luddite"]},
            "force": {"token": TOKEN},
            "kill_switch_file": str(tmp_path_factory.mktemp("switch") / "kill"),
        },
    )
    return Gallery(start_sidecar(settings), legacy, target)


@pytest.mark.parametrize("percentage", [0, 10, 50, 100])
def test_each_user_is_answered_by_the_source_that_the_bucket_says_and_always_the_same(
    split: Gallery, percentage: int
) -> None:
    split.sidecar.set_rollout(percentage=percentage, enabled=True)
    with Wire(split.sidecar.address) as wire:
        for user in USERS + USERS[:50]:
            answer = wire.ask("GET", "/images/1", {"X-User-Id": as_field(user)})
            expected = "target" if bucket(user) < percentage else "legacy"
            assert (user, answer.status, answer.answered_by) == (user, 200, expected)
            assert answer["X-Cutover-Source"] == NAMES[expected]
            assert answer["X-Cutover-Bucket"] == str(bucket(user))
            assert answer["X-Cutover-Reason"] == ("percentage" if percentage in (0, 100) else "bucket")
            assert answer["X-Cutover-Fallback"] is None


def test_a_patched_percentage_counts_from_the_next_request_on(split: Gallery) -> None:
    user = next(user for user in USERS if bucket(user) == 30)
    with Wire(split.sidecar.address) as wire:
        for percentage, expected in ((30, "legacy"), (31, "target"), (0, "legacy"), (100, "target")) * 3:
            split.sidecar.set_rollout(percentage=percentage, enabled=True)
            assert wire.ask("GET", "/images/1", {"X-User-Id": user}).answered_by == expected


def test_a_rollback_sends_everybody_to_legacy_from_the_next_request_on(split: Gallery) -> None:
    split.sidecar.set_rollout(percentage=100, enabled=True)
    with Wire(split.sidecar.address) as wire:
        assert wire.ask("GET", "/images/1").answered_by == "target"
        answer = split.sidecar.ask_admin("POST", "/rollback")
        assert answer.status == 200
        after = wire.ask("GET", "/images/1", {"X-User-Id": "vip"})
    assert (after.answered_by, after["X-Cutover-Reason"]) == ("legacy", "disabled")
    status = split.sidecar.ask_admin("GET", "/status").json()
    assert (status["percentage"], status["enabled"]) == (0, False)


def test_listed_users_have_their_source_whatever_the_percentage(split: Gallery) -> None:
    for percentage in (0, 50, 100):
        split.sidecar.set_rollout(percentage=percentage, enabled=True)
        for user, expected in (("vip", "target"), ("luddite", "legacy")):
            answer = split.sidecar.ask("GET", "/images/1", {"X-User-Id": user})
            assert (answer.answered_by, answer["X-Cutover-Reason"]) == (expected, "listed")


def test_operations_with_a_route_go_there_and_requests_of_no_operation_go_to_legacy(split: Gallery) -> None:
    split.sidecar.set_rollout(percentage=50, enabled=True)
    for target, expected in (
        ("/moved/1", "target"),
        ("/kept/1", "legacy"),
        ("/elsewhere", "legacy"),
        ("/images/a/b", "legacy"),
        ("/images/..", "legacy"),
        ("/images/a%2Fb", "legacy"),
        ("/images/%2e%2E", "legacy"),
        ("/images/a%5cb", "legacy"),
        ("/images/a%00b", "legacy"),
    ):
        answer = split.sidecar.ask("GET", target, {"X-User-Id": "vip"})
        assert (target, answer.answered_by, answer["X-Cutover-Reason"]) == (target, expected, "operation")


@pytest.mark.parametrize(
    ("wish", "expected", "reason"),
    [
        (f"target;{TOKEN}", "target", "forced"),
        (f"legacy;{TOKEN}", "legacy", "forced"),
        ("target;wrong", "legacy", "percentage"),
        ("target;", "legacy", "percentage"),
        ("target", "legacy", "percentage"),
        (TOKEN, "legacy", "percentage"),
        (f"nowhere;{TOKEN}", "legacy", "percentage"),
    ],
)
def test_the_force_header_counts_only_with_the_right_token_and_stays_here(
    split: Gallery, wish: str, expected: str, reason: str
) -> None:
    split.sidecar.set_rollout(percentage=0, enabled=True)
    split.legacy.forget()
    split.target.forget()
    answer = split.sidecar.ask("GET", "/images/1", {"X-Cutover-Force": wish, "X-User-Id": "u"})
    assert (answer.answered_by, answer["X-Cutover-Reason"]) == (expected, reason)
    (seen,) = split.legacy.seen + split.target.seen
    assert seen.all("X-Cutover-Force") == []


def test_a_kill_switch_file_sends_everybody_to_legacy_while_it_exists(split: Gallery) -> None:
    split.sidecar.set_rollout(percentage=100, enabled=True)
    settings = split.sidecar.ask_admin("GET", "/config").json()
    file = Path(settings["rollout"]["kill_switch_file"])

    def reason() -> str | None:
        return split.sidecar.ask("GET", "/images/1", {"X-User-Id": "vip"})["X-Cutover-Reason"]

    assert reason() == "listed"
    file.touch()
    try:
        assert eventually(lambda: reason() == "kill_switch")
        assert split.sidecar.ask("GET", "/moved/1").answered_by == "legacy"
        assert split.sidecar.ask_admin("GET", "/status").json()["kill_switch"] is True
    finally:
        file.unlink()
    assert eventually(lambda: reason() == "listed")


@pytest.mark.parametrize(
    ("target", "fields"),
    [
        ("/images/1", {"X-User-Id": "  user-7\t"}),
        ("/images/1", {"Cookie": "theme=dark; user_id=user-7; x=y"}),
        ("/images/1?a=b&userId=user-7", {}),
        ("/images/1?userId=user%2D7", {}),
        ("/images/1", {"Authorization": "Bearer e30.eyJzdWIiOiJ1c2VyLTcifQ.c2ln"}),
        ("/images/1?userId=another", {"X-User-Id": "", "Cookie": "user_id=user-7"}),
    ],
)
def test_the_user_id_is_the_first_one_that_is_there(split: Gallery, target: str, fields: dict[str, str]) -> None:
    split.sidecar.set_rollout(percentage=50, enabled=True)
    answer = split.sidecar.ask("GET", target, fields)
    assert answer["X-Cutover-Bucket"] == str(bucket("user-7"))


def test_a_request_without_a_user_goes_to_legacy_unless_everybody_goes_to_the_target(split: Gallery) -> None:
    split.sidecar.set_rollout(percentage=99, enabled=True)
    answer = split.sidecar.ask("GET", "/images/1")
    assert (answer.answered_by, answer["X-Cutover-Reason"]) == ("legacy", "anonymous")
    assert answer["X-Cutover-Bucket"] is None
    split.sidecar.set_rollout(percentage=100)
    assert split.sidecar.ask("GET", "/images/1").answered_by == "target"


def test_a_salt_makes_other_buckets_and_client_ip_makes_buckets_of_addresses(
    start_server: StartServer, start_sidecar: StartSidecar
) -> None:
    legacy, target = start_server("legacy"), start_server("target")
    rollout = {"percentage": 50, "salt": "gallery-2026", "anonymous": "client_ip"}
    sidecar = start_sidecar(config(legacy.url, target.url, rollout=rollout))
    moved = 0
    with Wire(sidecar.address) as wire:
        for user in USERS[:100]:
            answer = wire.ask("GET", "/images/1", {"X-User-Id": as_field(user)})
            inside = bucket(user, "gallery-2026") < 50
            assert answer.answered_by == ("target" if inside else "legacy")
            moved += inside != (bucket(user) < 50)
        assert moved
        sources = set()
        for number in range(20):
            address = f"203.0.113.{number}"
            answer = wire.ask("GET", "/images/1", {"X-Forwarded-For": f"198.51.100.9, {address}"})
            expected = bucket(address, "gallery-2026")
            assert answer["X-Cutover-Bucket"] == str(expected)
            assert answer["X-Cutover-Reason"] == "anonymous"
            assert answer.answered_by == ("target" if expected < 50 else "legacy")
            sources.add(answer.answered_by)
        assert sources == {"legacy", "target"}
        assert wire.ask("GET", "/images/1")["X-Cutover-Bucket"] == str(bucket("127.0.0.1", "gallery-2026"))


def test_a_patch_that_is_to_leave_the_file_alone_says_so(
    start_server: StartServer, start_sidecar: StartSidecar
) -> None:
    legacy = start_server("legacy")
    sidecar = start_sidecar(config(legacy.url, legacy.url, rollout={"percentage": 0}))
    before = sidecar.file.read_text()
    answer = sidecar.ask_admin("PATCH", "/rollout?persist=false", {"percentage": 37})
    said = json.loads(answer.body)
    assert (answer.status, said["percentage"], said["persisted"]) == (200, 37, False)
    assert "override" in said["note"]
    assert sidecar.file.read_text() == before
    [event] = [line for line in sidecar.log() if line["event"] == "rollout_changed"]
    assert (event["old_percentage"], event["new_percentage"], event["origin"]) == (0, 37, "api")
