"""Where the percentage is put: the file, and overrides on every sidecar or on none."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from proxy.core.model import Route
from proxy.rollout.cohort import CohortError, add_cohort, digest_of, remove_cohort, restore
from proxy.rollout.decision import Position, State, Step
from proxy.rollout.place import InForce, Observation, locate
from proxy.rollout.sidecar_store import SidecarStore
from proxy.rollout.stores import FileStore, StoreError, open_store
from proxy.settings.edit import edit_rollout
from proxy.settings.load import load_settings
from tests.rollout.servers import Admin, raw_server, serving
from tests.rollout.world import LAYOUT, Sidecar, make_plan

CONFIG = """\
legacy: {name: postgresql, url: "http://127.0.0.1:1"}
target: {name: image_service, url: "http://127.0.0.1:2"}
rollout:
  enabled: ${env:ON:-false}   # a comment
  percentage: 0
operations:
  - {name: get, match: "GET /images/{id}"}
  - {name: tuned, match: "GET /tuned/{id}", percentage: 0}
  - {name: upload, match: "POST /images", route: legacy}
"""
FORWARD, BACK = Step(10, enabled=True), Step(0, enabled=False, back=True)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "cutover.yaml"
    path.write_text(CONFIG)
    return path


def text_of(path: Path) -> str:
    return path.read_text()


def write(path: Path, text: str) -> None:
    path.write_text(text)


async def test_the_file_is_read_and_changed_and_its_comments_stay(file: Path) -> None:
    store = FileStore(file, {})
    before = await store.read()
    assert before.places == {str(file): (0, False)}
    assert before.layout.routes == {
        "get": Route.SPLIT,
        "tuned": Route.LEGACY,
        "upload": Route.LEGACY,
        "other": Route.LEGACY,
    }
    await store.apply(FORWARD)
    after = await store.read()
    assert after.places == {str(file): (10, True)}
    assert after.revisions != before.revisions
    await store.apply(FORWARD)
    assert (await store.read()).revisions == after.revisions, "twice is once"
    assert "# a comment" in text_of(file)
    await store.apply(BACK)
    assert (await store.read()).places == {str(file): (0, False)}


async def test_a_file_that_cannot_be_had_is_said(file: Path) -> None:
    write(file, "legacy: [")
    for work in (FileStore(file, {}).read(), FileStore(file, {}).apply(FORWARD)):
        with pytest.raises(StoreError, match="not valid"):
            await work
    with pytest.raises(StoreError, match="no such file"):
        await FileStore(file.with_name("none.yaml"), {}).read()


async def test_the_kill_switch_is_seen(file: Path, tmp_path: Path) -> None:
    write(file, CONFIG.replace("  percentage: 0\n", "  percentage: 0\n  kill_switch_file: switch\n", 1))
    assert not (await FileStore(file, {}).read()).kill_switch
    write(tmp_path / "switch", "")
    assert (await FileStore(file, {}).read()).kill_switch


async def with_admins(stack: AsyncExitStack, *admins: Admin, timeout_s: float = 5.0) -> SidecarStore:
    urls = [await stack.enter_async_context(serving(admin.answer)) for admin in admins]
    store = SidecarStore(urls, "secret", timeout_s)
    stack.push_async_callback(store.close)
    return store


async def test_every_sidecar_is_overridden_with_the_revision_that_was_read() -> None:
    async with AsyncExitStack() as stack:
        admins = [Admin(), Admin()]
        store = await with_admins(stack, *admins)
        await store.apply(FORWARD)
        wish = {"percentage": 10, "enabled": True}
        assert [admin.patches for admin in admins] == [[(wish, '"r1"', "Bearer secret", "persist=false")]] * 2
        in_force = await store.read()
        assert set(in_force.places.values()) == {(10, True)}
        assert in_force.layout.routes["tuned"] is Route.LEGACY
        assert in_force.revisions == {"r1"}


@pytest.mark.parametrize("how", ["refuses", "hangs", "is gone"])
async def test_when_one_fails_the_others_are_changed_back_and_it_is_said(how: str) -> None:
    async with AsyncExitStack() as stack:
        good, bad = Admin(), Admin()
        store = await with_admins(stack, good, bad, timeout_s=0.3)
        if how == "refuses":
            bad.refuse = 412
        elif how == "hangs":
            bad.hang_after_change = True
        else:
            bad.hang = True
        with pytest.raises(StoreError) as said:
            await store.apply(FORWARD)
        assert (good.percentage, good.enabled) == (0, False)
        if how != "is gone":
            assert (bad.percentage, bad.enabled) == (0, False)
            assert "changed back" in str(said.value)
        else:
            assert "no answer in time" in str(said.value)
            assert good.patches == [], "nothing was begun"


async def test_what_cannot_be_changed_back_is_named() -> None:
    async with AsyncExitStack() as stack:
        good, bad = Admin(), Admin()
        store = await with_admins(stack, good, bad, timeout_s=0.2)
        bad.refuse = 500
        original = good.answer
        calls = 0

        async def once(request):
            nonlocal calls
            calls += request.method == "PATCH"
            if request.method == "PATCH" and calls > 1:
                good.refuse = 503
            return await original(request)

        url = await stack.enter_async_context(serving(once))
        store = SidecarStore([url, store._endpoints[1]._url], "secret", 0.2)
        stack.push_async_callback(store.close)
        with pytest.raises(StoreError, match="could not be changed back: look at it"):
            await store.apply(FORWARD)


async def test_a_step_back_is_taken_wherever_it_can_be() -> None:
    async with AsyncExitStack() as stack:
        good, bad = Admin(50), Admin(50)
        bad.refuse = 500
        store = await with_admins(stack, bad, good)
        with pytest.raises(StoreError, match="1 of 2 sidecars are at 0 %"):
            await store.apply(BACK)
        assert (good.percentage, good.enabled) == (0, False)
        assert len(bad.patches) == 3
        assert good.patches[0][1] is None, "whatever the revision"


async def test_sidecars_that_are_none_or_differ_are_said() -> None:
    async with AsyncExitStack() as stack:
        other = Admin()
        other.operations = []
        with pytest.raises(StoreError, match="do not agree"):
            await (await with_admins(stack, Admin(), other)).read()
        for data in (
            b"",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        ):
            url = await stack.enter_async_context(raw_server(data))
            store = SidecarStore([url], None, 1.0)
            stack.push_async_callback(store.close)
            with pytest.raises(StoreError):
                await store.read()
            with pytest.raises(StoreError):
                await store.apply(FORWARD)


def test_the_store_is_the_plans() -> None:
    assert isinstance(open_store(make_plan(), {}), FileStore)
    assert isinstance(open_store(make_plan(apply={"sidecars": ["http://a:1"]}), {}), SidecarStore)


# whether the percentage is where it was put


def there(percentage: int = 10, *, enabled: bool = True, **more: object) -> InForce:
    return InForce({"file": (percentage, enabled)}, frozenset({"r"}), LAYOUT, **more)  # type: ignore[arg-type]


def seen(*states: tuple[int, bool, str], gaps: dict[str, str] | None = None) -> Observation:
    readings = {}
    for number, (percentage, enabled, revision) in enumerate(states):
        sidecar = Sidecar()
        sidecar.percentage, sidecar.enabled, sidecar.revision = percentage, enabled, revision
        readings[f"s{number}"] = sidecar.reading()
    return Observation(readings, gaps or {})


AT_10 = State(stage=1, percentage=10, enabled=True)
ARRIVING = State(stage=1, percentage=10, enabled=True, converged=False)


@pytest.mark.parametrize(
    ("state", "in_force", "observed", "position"),
    [
        (AT_10, there(), seen((10, True, "r")), Position.THERE),
        (AT_10, "can't be read", seen((10, True, "r")), Position.UNKNOWN),
        (AT_10, there(11), seen((10, True, "r")), Position.MOVED),
        (AT_10, there(enabled=False), seen((10, True, "r")), Position.MOVED),
        (AT_10, there(), seen((0, False, "r")), Position.MOVED),
        (AT_10, there(), seen((10, True, "r"), (10, False, "r")), Position.MOVED),
        (AT_10, there(), seen((10, True, "other")), Position.UNKNOWN),
        (AT_10, there(), seen((5, True, "other")), Position.UNKNOWN),
        (AT_10, there(), seen((10, True, "r"), gaps={"s9": "gone"}), Position.UNKNOWN),
        (AT_10, there(), seen(), Position.UNKNOWN),
        (AT_10, there(kill_switch=True), seen((10, True, "r")), Position.UNKNOWN),
        (ARRIVING, there(), seen((0, False, "old")), Position.ARRIVING),
        (ARRIVING, there(), seen((0, False, "r")), Position.ARRIVING),
        (ARRIVING, there(), seen((10, True, "old")), Position.ARRIVING),
        (ARRIVING, there(25), seen((0, False, "old")), Position.MOVED),
        (State(attempted=10), there(), seen((10, True, "r")), Position.THERE),
        (State(), there(10, enabled=False), seen((10, False, "r")), Position.THERE),
    ],
)
def test_positions(state: State, in_force: InForce | str, observed: Observation, position: Position) -> None:
    assert locate(state, in_force, observed)[0] is position


# cohorts


def test_a_cohort_comes_and_goes_and_the_file_is_as_before(file: Path) -> None:
    before = file.read_bytes()
    added = add_cohort(file, {}, ("qa-1", "007"))
    rollout = load_settings(file, {}).settings.rollout
    assert (rollout.enabled, rollout.percentage, rollout.users.target) == (True, 0, ("qa-1", "007"))
    assert restore(file, {}, added)
    assert file.read_bytes() == before


def test_a_file_that_somebody_changed_meanwhile_loses_the_users_only(file: Path) -> None:
    added = add_cohort(file, {}, ("qa-1",))
    edit_rollout(file, {}, percentage=5)
    assert not restore(file, {}, added)
    remove_cohort(file, {}, {digest_of("qa-1")})
    rollout = load_settings(file, {}).settings.rollout
    assert (rollout.percentage, rollout.users.target) == (5, ())


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("percentage: 0\n", "percentage: 5\n", "would move other users"),
        ("percentage: 0\n", "percentage: 0\n  users: {legacy: [qa-1]}\n", "already"),
        ("route: legacy}", "route: target}", "route: target"),
        ("percentage: 0\n", "percentage: 0\n  kill_switch_file: cutover.yaml\n", "kill switch"),
        ("rollout:", "rollouts:", "unknown key"),
    ],
)
def test_a_cohort_that_would_move_others_or_nobody_is_refused(file: Path, old: str, new: str, words: str) -> None:
    file.write_text(CONFIG.replace(old, new, 1))
    before = file.read_bytes()
    with pytest.raises(CohortError, match=words):
        add_cohort(file, {}, ("qa-1",))
    assert file.read_bytes() == before
