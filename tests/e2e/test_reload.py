"""Changes at run time: by the file, its secrets, the admin API, the kill switch (contract sections 6 and 9)."""

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.reload import latency_s, quantile
from tests.e2e.conftest import StartServer, StartSidecar
from tests.e2e.load import Load
from tests.e2e.sidecar import Sidecar, config, eventually, merged, write_config
from tests.e2e.test_failures import does
from tests.e2e.test_tls import new_authority
from tests.e2e.wire import Wire, request

SOON_S = 3.0


@pytest.fixture
def load() -> Iterator[Load]:
    with Load(clients=8) as made:
        yield made


@pytest.fixture
def two(load: Load, start_sidecar: StartSidecar) -> Sidecar:
    """A sidecar with two workers, at 0 %."""
    return start_sidecar(
        config(load.url("legacy"), load.url("target"), workers=2, rollout={"percentage": 0}, logging={"access": "off"})
    )


def read(sidecar: Sidecar) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(sidecar.file.read_text())
    return found


def change(sidecar: Sidecar, **changes: Any) -> None:
    """Change the file as an editor does, and wait until every worker has it."""
    beside = sidecar.file.with_suffix(".new")
    write_config(beside, merged(read(sidecar), changes))
    applied = len(sidecar.events("config_applied"))
    beside.replace(sidecar.file)
    assert eventually(lambda: len(sidecar.events("config_applied")) > applied, SOON_S), sidecar.stdout


def status(sidecar: Sidecar) -> dict[str, Any]:
    found: dict[str, Any] = sidecar.ask_admin("GET", "/status").json()
    return found


def reloads(sidecar: Sidecar) -> dict[str, float]:
    metrics = sidecar.metrics()
    return {
        result: metrics.total("cutover_config_reloads_total", result=result)
        for result in ("applied", "unchanged", "rejected")
    }


def sources(sidecar: Sidecar, times: int = 20) -> set[str]:
    """Who answers, asked on so many connections that every worker is asked."""
    return {sidecar.ask("GET", "/images/1", {"X-User-Id": "u"}).answered_by for _ in range(times)}


# the file


def in_place(file: Path, text: str) -> None:
    file.write_text(text)


def renamed(file: Path, text: str) -> None:
    beside = file.with_suffix(".new")
    beside.write_text(text)
    beside.replace(file)


@pytest.mark.parametrize("write", [in_place, renamed])
def test_a_written_file_is_in_force_in_every_worker_within_a_second(
    two: Sidecar, write: Callable[[Path, str], None]
) -> None:
    text = two.file.read_text()
    for percentage, source in ((100, "target"), (0, "legacy")):
        write(two.file, text.replace("percentage: 0", f"percentage: {percentage}"))
        time.sleep(1)
        assert sources(two) == {source}
        found = status(two)
        assert found["percentage"] == percentage
        assert {worker["revision"] for worker in found["workers"]} == {found["revision"]}
        assert found["last_reload"]["result"] == "applied"
    audit = two.events("rollout_changed")
    assert [(line["old_percentage"], line["new_percentage"], line["origin"]) for line in audit] == [
        (0, 100, "file"),
        (100, 0, "file"),
    ]
    assert audit[1]["revision"] == status(two)["revision"]


def test_a_configmap_that_is_swapped_is_in_force(load: Load, start_sidecar: StartSidecar, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    settings = config(load.url("legacy"), load.url("target"), rollout={"percentage": 0})
    for name, percentage in (("..v1", 0), ("..v2", 100)):
        (volume / name).mkdir(parents=True)
        write_config(volume / name / "c.yaml", merged(settings, {"rollout": {"percentage": percentage}}))
    (volume / "..data").symlink_to("..v1")
    (volume / "c.yaml").symlink_to("..data/c.yaml")
    sidecar = Sidecar(volume / "c.yaml")
    try:
        assert sources(sidecar, 3) == {"legacy"}
        (volume / "..data_tmp").symlink_to("..v2")
        (volume / "..data_tmp").rename(volume / "..data")
        shutil.rmtree(volume / "..v1")
        assert eventually(lambda: sources(sidecar, 3) == {"target"}, 2)
        refused = sidecar.ask_admin("PATCH", "/rollout", {"percentage": 3})
        assert refused.status == 409
        assert "ConfigMap" in refused.json()["detail"]
        rolled_back = sidecar.ask_admin("POST", "/rollback")
        assert (rolled_back.status, rolled_back.json()["persisted"]) == (200, False)
        assert "ConfigMap" in rolled_back.json()["note"]
        assert sources(sidecar, 3) == {"legacy"}
    finally:
        sidecar.stop()


def test_sighup_reads_the_file_again_and_what_is_unchanged_is_counted_so(two: Sidecar) -> None:
    before = reloads(two)
    two.signal(signal.SIGHUP)
    assert eventually(lambda: reloads(two)["unchanged"] == before["unchanged"] + 1)
    assert status(two)["last_reload"] == {**status(two)["last_reload"], "result": "unchanged", "error": None}


def test_an_invalid_file_changes_nothing_is_said_once_and_a_valid_one_recovers(two: Sidecar) -> None:
    good = two.file.read_text()
    renamed(two.file, good.replace("percentage: 0", "percentage: 101"))
    assert eventually(lambda: status(two)["last_reload"]["result"] == "rejected")
    for _ in range(3):
        two.signal(signal.SIGHUP)
        time.sleep(0.1)
    assert eventually(lambda: reloads(two)["rejected"] >= 3)
    assert sources(two) == {"legacy"}
    (line,) = two.events("config_rejected")
    where = good[: good.index("percentage: 0")].count("\n") + 1
    assert (line["file"], line["line"], line["key"]) == (str(two.file), where, "rollout.percentage")
    assert "0 to 100" in line["message"]
    assert f"{two.file}:{where}: rollout.percentage" in status(two)["last_reload"]["error"]
    metrics = two.metrics()
    assert metrics.total("cutover_config_last_reload_successful") == 0
    assert metrics.total("cutover_config_info") == 1
    renamed(two.file, good.replace("percentage: 0", "percentage: 100"))
    assert eventually(lambda: sources(two) == {"target"})
    assert two.metrics().total("cutover_config_last_reload_successful") == 1


def test_keys_that_need_a_restart_are_named_and_the_rest_applies(two: Sidecar) -> None:
    change(two, listen="127.0.0.1:1", workers=5, admin={"listen": "127.0.0.1:2"}, rollout={"percentage": 100})
    warned = {line["key"] for line in two.events("config_warning") if "restart" in line["message"]}
    assert warned == {"listen", "admin.listen", "workers"}
    assert sources(two) == {"target"}
    assert len(two.workers()) == 2


def test_every_other_key_applies_without_a_restart(start_server: StartServer, start_sidecar: StartSidecar) -> None:
    legacy, target, another = start_server("legacy"), start_server("target"), start_server("another")
    sidecar = start_sidecar(config(legacy.url, target.url))
    with Wire(sidecar.address) as kept:  # a connection that lives through all of it
        assert kept.ask("GET", "/images/1", does()).answered_by == "target"
        change(sidecar, target={"url": another.url})
        assert kept.ask("GET", "/images/1", does()).answered_by == "another"
        change(sidecar, expose=False)
        assert kept.ask("GET", "/images/1", does())["X-Cutover-Source"] is None
        change(sidecar, limits={"uri_bytes": "1KiB"})
        assert sidecar.ask("GET", "/" + "x" * 2000, does()).status == 414
        change(sidecar, target={"timeout": "200ms"}, expose=True)
        assert kept.ask("GET", "/images/1", {"X-another-Does": "delay:5"})["X-Cutover-Fallback"] == "timeout"
        change(sidecar, target={"headers": {"set": {"X-Key": "new"}}})
        assert kept.ask("GET", "/images/1", does()).status == 200
        assert another.seen[-1].one("X-Key") == b"new"
        change(sidecar, rollout={"users": {"legacy": ["u"]}})
        assert kept.ask("GET", "/images/1", {"X-User-Id": "u"})["X-Cutover-Reason"] == "listed"
        change(sidecar, target={"name": "images"})
        assert kept.ask("GET", "/images/1", {"X-User-Id": "v"})["X-Cutover-Source"] == "images"
        assert sidecar.metrics().total("cutover_requests_total", source="images") == 1
        change(sidecar, operations=[{"name": "picture", "match": "GET /images/{id}", "route": "legacy"}])
        assert kept.ask("GET", "/images/1", {"X-User-Id": "v"})["X-Cutover-Reason"] == "operation"
        change(sidecar, logging={"access": "off"})
        assert kept.ask("GET", "/images/1", {"X-Request-Id": "unseen"}).status == 200
        change(sidecar, limits={"connections": 1})
        assert sidecar.ask("GET", "/images/1").status == 503
        assert kept.ask("GET", "/images/1").status == 200
    assert not [line for line in sidecar.events("request") if line["request_id"] == "unseen"]
    change(sidecar, admin={"token": "later"})
    assert sidecar.ask_admin("PATCH", "/rollout", {"percentage": 1}).status == 401


def test_a_request_under_way_keeps_the_snapshot_that_it_started_with(
    start_server: StartServer, start_sidecar: StartSidecar
) -> None:
    legacy, target, another = start_server("legacy"), start_server("target"), start_server("another")
    sidecar = start_sidecar(config(legacy.url, target.url, target={"timeout": "10s"}))
    with Wire(sidecar.address) as slow, Wire(sidecar.address) as falling:
        slow.send(request("GET", "/images/1", {**does("delay:1.5")}))
        falling.send(request("GET", "/images/2", {**does("delay:1"), "X-target-Does": "hang-up"}))
        assert falling.answer().answered_by == "legacy"
        assert eventually(lambda: len(target.seen) >= 2)
        change(sidecar, target={"url": another.url, "name": "moved"}, expose=False)
        answer = slow.answer()
        assert (answer.answered_by, answer["X-Cutover-Source"]) == ("target", "image_service")
        assert slow.ask("GET", "/images/1", does()).answered_by == "another"
        assert slow.ask("GET", "/images/1", does())["X-Cutover-Source"] is None
    assert eventually(lambda: not target.upstream.open, 3), "the old pool's connections are closed"
    metrics = sidecar.metrics()
    assert metrics.total("cutover_inflight_requests") == 0


def test_pools_that_did_not_change_keep_their_connections(
    start_server: StartServer, start_sidecar: StartSidecar
) -> None:
    legacy, target = start_server("legacy"), start_server("target")
    sidecar = start_sidecar(config(legacy.url, target.url))
    assert sidecar.ask("GET", "/images/1", does()).status == 200
    number = target.seen[-1].connection
    change(sidecar, rollout={"percentage": 99}, limits={"header_count": 50}, legacy={"timeout": "2s"})
    change(sidecar, rollout={"percentage": 100}, legacy={"pool": {"max_idle": 3}})
    assert sidecar.ask("GET", "/images/1", does()).status == 200
    assert target.seen[-1].connection == number


def test_rotated_tls_files_and_secrets_are_used_from_the_next_request_on(
    tmp_path: Path, start_server: StartServer, start_sidecar: StartSidecar
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    old, new = new_authority(tmp_path / "one"), new_authority(tmp_path / "two")
    trusted = tmp_path / "ca.pem"
    shutil.copy(old.file, trusted)
    token = tmp_path / "token"
    token.write_text("first")
    legacy = start_server("legacy")
    target = start_server("target", tls=new.server_context("127.0.0.1"))
    changes: dict[str, Any] = {
        "tls": {"ca_file": str(trusted)},
        "headers": {"set": {"Authorization": f"Bearer ${{file:{token}}}"}},
    }
    url = f"https://127.0.0.1:{target.port}"
    sidecar = start_sidecar(config(legacy.url, url, target=changes))
    assert sidecar.ask("GET", "/images/1", does())["X-Cutover-Fallback"] == "tls_error"
    renamed(trusted, Path(new.file).read_text())
    assert eventually(lambda: sidecar.ask("GET", "/images/1", does()).answered_by == "target", SOON_S)
    assert target.seen[-1].one("Authorization") == b"Bearer first"
    revision = status(sidecar)["revision"]
    renamed(token, "second\n")

    def rotated() -> bool:
        assert sidecar.ask("GET", "/images/1", does()).answered_by == "target"
        return bool(target.seen[-1].one("Authorization") == b"Bearer second")

    assert eventually(rotated, SOON_S)
    assert status(sidecar)["revision"] == revision
    renamed(trusted, "no certificate\n")
    assert eventually(lambda: status(sidecar)["last_reload"]["result"] == "rejected", SOON_S)
    assert "target.tls.ca_file" in status(sidecar)["last_reload"]["error"]
    assert sidecar.ask("GET", "/images/1", does()).answered_by == "target"


# the admin API


def test_a_patch_is_in_the_file_and_in_every_worker_when_it_is_answered(two: Sidecar) -> None:
    two.file.write_text("# a comment that stays\n" + two.file.read_text())
    assert eventually(lambda: len(two.events("config_applied")) == 1)
    for percentage, source in ((100, "target"), (0, "legacy"), (100, "target")):
        answer = two.ask_admin("PATCH", "/rollout", {"percentage": percentage})
        assert (answer.status, answer.json()["persisted"]) == (200, True)
        assert sources(two, 10) == {source}
        assert read(two)["rollout"]["percentage"] == percentage
        assert status(two)["revision"] == answer.json()["revision"]
    assert two.file.read_text().startswith("# a comment that stays\n")
    assert status(two)["override"] is None
    audit = two.events("rollout_changed")
    assert [(line["origin"], line["new_percentage"]) for line in audit] == [("api", 100), ("api", 0), ("api", 100)]


def test_if_match_is_compared_with_what_is_in_force_and_with_the_file(two: Sidecar) -> None:
    revision = status(two)["revision"]
    stale = two.ask_admin("PATCH", "/rollout", {"percentage": 1}, If_Match='"000000000000"')
    assert (stale.status, stale["ETag"]) == (412, f'"{revision}"')
    good = two.ask_admin("PATCH", "/rollout", {"percentage": 1}, If_Match=f'"{revision}"')
    assert good.status == 200
    again = two.ask_admin("PATCH", "/rollout", {"percentage": 2}, If_Match=f'"{revision}"')
    assert again.status == 412
    # On the disk is something that is not in force, because it is invalid.
    renamed(two.file, "nonsense: [\n")
    in_force = status(two)["revision"]
    refused = two.ask_admin("PATCH", "/rollout", {"percentage": 3}, If_Match=f'"{in_force}"')
    assert refused.status == 412
    assert two.ask_admin("PATCH", "/rollout", {"percentage": 3}).status == 409
    assert two.file.read_text() == "nonsense: [\n"
    assert status(two)["percentage"] == 1


def test_patches_at_once_are_made_one_after_another(two: Sidecar) -> None:
    answers = []

    def patch(percentage: int) -> None:
        answers.append(two.ask_admin("PATCH", "/rollout", {"percentage": percentage}).json())

    threads = [threading.Thread(target=patch, args=(percentage,)) for percentage in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer["percentage"] for answer in answers) == list(range(1, 9))
    assert len({answer["revision"] for answer in answers}) == 8
    audit = [line["new_percentage"] for line in two.events("rollout_changed")]
    assert read(two)["rollout"]["percentage"] == audit[-1] == status(two)["percentage"]


def test_an_override_outlives_reloads_secrets_and_workers_until_the_rollout_section_changes(
    load: Load, start_sidecar: StartSidecar, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("one\n")
    settings = config(load.url("legacy"), load.url("target"), workers=2)
    settings["rollout"]["force"] = {"token": f"${{file:{secret}}}"}
    sidecar = start_sidecar(settings)
    answer = sidecar.ask_admin("PATCH", "/rollout?persist=false", {"percentage": 0})
    assert (answer.status, answer.json()["persisted"]) == (200, False)
    assert read(sidecar)["rollout"]["percentage"] == 100

    def assert_in_force() -> None:
        found = status(sidecar)
        assert (found["percentage"], found["override"]["percentage"], found["override"]["origin"]) == (0, 0, "api")
        assert abs(found["override"]["at"] - sidecar.file.stat().st_mtime) < 60
        assert sources(sidecar) == {"legacy"}

    assert_in_force()
    change(sidecar, limits={"header_count": 77})
    assert_in_force()
    applied = len(sidecar.events("config_applied"))
    secret.write_text("two\n")
    assert eventually(lambda: len(sidecar.events("config_applied")) > applied, SOON_S)
    assert_in_force()
    os.kill(sidecar.workers()[0], signal.SIGKILL)
    assert eventually(lambda: len(sidecar.workers()) == 2)
    assert_in_force()
    sidecar.signal(signal.SIGHUP)
    time.sleep(0.2)
    assert_in_force()
    text = sidecar.file.read_text()
    renamed(sidecar.file, "# another comment\n" + text)
    time.sleep(0.3)
    assert_in_force()
    change(sidecar, rollout={"percentage": 99})
    found = status(sidecar)
    assert (found["percentage"], found["override"]) == (99, None)


def test_a_patch_that_is_written_ends_an_override_and_keeps_what_it_does_not_name(two: Sidecar) -> None:
    assert two.ask_admin("PATCH", "/rollout?persist=false", {"enabled": False}).status == 200
    answer = two.ask_admin("PATCH", "/rollout", {"percentage": 100}).json()
    assert (answer["percentage"], answer["enabled"], answer["persisted"]) == (100, False, True)
    assert "enabled is false" in answer["note"]
    assert status(two)["override"] is None
    assert read(two)["rollout"] == {"enabled": False, "percentage": 100}


def test_a_rollback_is_written_to_the_file(two: Sidecar) -> None:
    assert two.ask_admin("PATCH", "/rollout", {"percentage": 100}).status == 200
    answer = two.ask_admin("POST", "/rollback").json()
    assert (answer["percentage"], answer["enabled"], answer["persisted"]) == (0, False, True)
    assert sources(two) == {"legacy"}
    assert read(two)["rollout"] == {"enabled": False, "percentage": 0}
    assert status(two)["override"] is None


def test_a_rollback_is_in_force_at_once_however_long_the_file_is_locked(two: Sidecar) -> None:
    fcntl = pytest.importorskip("fcntl")
    assert two.ask_admin("PATCH", "/rollout", {"percentage": 100}).status == 200
    directory = os.open(two.file.parent, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        answers: list[Any] = []
        patching = threading.Thread(
            target=lambda: answers.append(two.ask_admin("PATCH", "/rollout", {"percentage": 50}))
        )
        patching.start()  # which now waits for the lock, and has ours
        time.sleep(0.3)
        asking = threading.Thread(target=lambda: answers.append(two.ask_admin("POST", "/rollback")))
        asking.start()
        assert eventually(lambda: sources(two, 5) == {"legacy"}, 1.0)
        asking.join(5)
        (rolled_back,) = answers
        assert rolled_back.json()["persisted"] is False
        assert "takes long" in rolled_back.json()["note"]
    finally:
        os.close(directory)
    patching.join(10)
    assert sources(two) == {"legacy"}, "the change that was on its way must not undo the rollback"
    assert eventually(lambda: read(two)["rollout"]["enabled"] is False, 5)
    assert eventually(lambda: status(two)["override"] is None, 5)
    assert sources(two) == {"legacy"}


# the kill switch


def test_the_kill_switch_file_reaches_every_worker_within_100_ms(load: Load, start_sidecar: StartSidecar) -> None:
    settings = config(load.url("legacy"), load.url("target"), workers=2, logging={"access": "off"})
    settings["rollout"]["kill_switch_file"] = "kill"
    sidecar = start_sidecar(settings)
    file = sidecar.file.parent / "kill"
    load.pause_s = 0.005
    load.start(sidecar.address)
    time.sleep(0.3)
    took = []
    for _ in range(3):
        for new, act in (("legacy", file.touch), ("target", file.unlink)):
            began = time.perf_counter()
            act()
            took.append(latency_s(load, began, new))
    tally = load.stop()
    assert tally.failures == []
    assert sorted(took)[len(took) // 2] < 0.1
    assert max(took) < 0.5
    assert len(sidecar.events("rollout_changed")) == 6
    assert {line["origin"] for line in sidecar.events("rollout_changed")} == {"kill_switch"}


def test_the_kill_switch_is_looked_at_before_anybody_is_served(
    load: Load, start_sidecar: StartSidecar, tmp_path: Path
) -> None:
    settings = config(load.url("legacy"), load.url("target"))
    settings["rollout"]["kill_switch_file"] = str(tmp_path / "kill")
    (tmp_path / "kill").touch()
    sidecar = start_sidecar(settings)
    assert sidecar.ask("GET", "/images/1", {"X-User-Id": "u"})["X-Cutover-Reason"] == "kill_switch"
    assert status(sidecar)["kill_switch"] is True


# under load


def test_many_reloads_under_load_are_quick_and_lose_no_request(load: Load, two: Sidecar) -> None:
    text = two.file.read_text()
    load.start(two.address)
    time.sleep(0.2)
    took = []
    for number in range(24):
        new = "legacy" if number % 2 else "target"
        write = in_place if number % 3 else renamed
        began = time.perf_counter()
        write(two.file, text.replace("percentage: 0", f"percentage: {0 if number % 2 else 100}"))
        took.append(latency_s(load, began, new))
    tally = load.stop()
    assert tally.failures == []
    assert tally.requests > 1000
    assert quantile(took, 0.5) < 0.25
    assert max(took) < 1.0


def test_the_log_holds_one_json_object_a_line_whatever_the_workers_do(two: Sidecar) -> None:
    for line in two.stdout.splitlines():
        assert isinstance(json.loads(line), dict)
