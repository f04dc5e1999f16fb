"""The percentage in a ConfigMap: an API server that is spoken to as it wants, and sidecars that are told at once."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from proxy.rollout.configmap_store import ConfigMapStore
from proxy.rollout.decision import Step
from proxy.rollout.plan import ConfigMap
from proxy.rollout.stores import StoreError, open_store
from tests.rollout.servers import Admin, serving
from tests.rollout.world import make_plan

FORWARD, BACK = Step(10, enabled=True), Step(0, enabled=False, back=True)
PATH = "/api/v1/namespaces/gallery/configmaps/cutover-rollout"


class ApiServer:
    """What a Kubernetes API server does with one ConfigMap, as far as get and a merge patch go."""

    def __init__(self, **data: str) -> None:
        self.data, self.version, self.token = data, 7, "first"
        self.patches: list[dict[str, Any]] = []
        self.before_patch = lambda: None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return self._status(401, "Unauthorized")
        if request.path != PATH:
            return self._status(403, f"{request.path} is forbidden for system:serviceaccount:gallery:cutover-rollout")
        if request.method == "PATCH":
            assert request.content_type == "application/merge-patch+json"
            self.before_patch()
            wish = json.loads(await request.read())
            self.patches.append(wish)
            if wish["metadata"]["resourceVersion"] != str(self.version):
                return self._status(
                    409, "the object has been modified; please apply your changes to the latest version"
                )
            self.data |= wish["data"]
            self.version += 1
        return web.json_response(
            {"kind": "ConfigMap", "metadata": {"resourceVersion": str(self.version)}, "data": self.data}
        )

    @staticmethod
    def _status(code: int, message: str) -> web.Response:
        return web.json_response({"kind": "Status", "status": "Failure", "message": message}, status=code)


@pytest.fixture
def account(tmp_path: Path) -> Path:
    for name, text in {"token": "first\n", "namespace": "gallery\n"}.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@asynccontextmanager
async def opened(api: ApiServer, admin: Admin, directory: Path, **place: Any) -> AsyncIterator[ConfigMapStore]:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(api.answer))
        sidecar = await stack.enter_async_context(serving(admin.answer))
        said = {"name": "cutover-rollout", "sidecars": str(sidecar), "api": str(server), "account": str(directory)}
        store = ConfigMapStore(ConfigMap.model_validate({**said, **place}), "secret", {}, 2.0)
        stack.push_async_callback(store.close)
        yield store


async def test_what_is_in_force_is_the_configmaps_share_and_the_sidecars_names(account: Path) -> None:
    admin = Admin(10, "r1")
    async with opened(ApiServer(percentage="10\n", enabled="True"), admin, account) as store:
        in_force = await store.read()
    assert in_force.places == {"ConfigMap cutover-rollout": (10, True)}
    assert in_force.revisions == {"r1"}
    assert set(in_force.layout.routes) == {"get", "upload", "tuned", "other"}


async def test_a_step_forward_writes_two_keys_of_the_version_that_was_read_and_leaves_the_pods_to_the_kubelet(
    account: Path,
) -> None:
    api, admin = ApiServer(percentage="0", enabled="false", kept="as it is"), Admin()
    async with opened(api, admin, account) as store:
        await store.apply(FORWARD)
        await store.apply(FORWARD)
    assert api.patches == [
        {"metadata": {"resourceVersion": "7"}, "data": {"percentage": "10", "enabled": "true"}},
    ], "twice is once"
    assert api.data["kept"] == "as it is"
    assert admin.patches == []


async def test_a_step_back_is_in_force_in_the_sidecars_at_once_and_in_the_configmap(account: Path) -> None:
    api, admin = ApiServer(percentage="50", enabled="true"), Admin(50)
    async with opened(api, admin, account) as store:
        await store.apply(BACK)
        assert (admin.percentage, admin.enabled) == (0, False)
        await store.apply(BACK)
    assert api.data == {"percentage": "0", "enabled": "false"}
    assert [(wish, token, query) for wish, _, token, query in admin.patches] == [
        ({"percentage": 0, "enabled": False}, "Bearer secret", "persist=false"),
    ], "no override where it is in force already"


async def test_one_way_back_that_fails_does_not_keep_the_other_from_being_taken(account: Path) -> None:
    api, admin = ApiServer(percentage="50", enabled="true"), Admin(50)
    async with opened(api, admin, account) as store:
        (account / "token").write_text("stolen")
        with pytest.raises(StoreError, match=r"refuses: Unauthorized \(401\); the sidecars at once: at 0 %"):
            await store.apply(BACK)
        assert admin.percentage == 0
    admin = Admin(50)
    admin.refuse = 500
    (account / "token").write_text("first")
    async with opened(api, admin, account) as store:
        with pytest.raises(StoreError, match="ConfigMap cutover-rollout: at 0 %; the sidecars at once: 0 of 1"):
            await store.apply(BACK)
    assert api.data["percentage"] == "0"


async def test_a_change_by_somebody_else_in_between_is_not_overwritten(account: Path) -> None:
    api = ApiServer(percentage="0", enabled="false")
    api.before_patch = lambda: setattr(api, "version", 8)
    async with opened(api, Admin(), account) as store:
        with pytest.raises(StoreError, match="has been modified"):
            await store.apply(FORWARD)
    assert api.data["percentage"] == "0"


async def test_a_renewed_token_is_used(account: Path) -> None:
    api = ApiServer(percentage="0", enabled="false")
    async with opened(api, Admin(), account) as store:
        await store.read()
        api.token = "second"
        (account / "token").write_text("second")
        await store.read()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "no keys"),
        ({"percentage": "10"}, "no keys"),
        ({"percentage": "101", "enabled": "true"}, "from 0 to 100"),
        ({"percentage": "-1", "enabled": "true"}, "from 0 to 100"),
        ({"percentage": "\u0661", "enabled": "true"}, "from 0 to 100"),
        ({"percentage": "9" * 5000, "enabled": "true"}, "from 0 to 100"),
        ({"percentage": "10", "enabled": "maybe"}, "true or false"),
    ],
)
async def test_a_configmap_that_says_nothing_sensible_is_said(account: Path, data: dict[str, str], words: str) -> None:
    async with opened(ApiServer(**data), Admin(), account) as store:
        for work in (store.read(), store.apply(FORWARD)):
            with pytest.raises(StoreError, match=words):
                await work


async def test_what_is_not_there_is_said(account: Path) -> None:
    api = ApiServer(percentage="0", enabled="false")
    async with opened(api, Admin(), account, namespace="other/../x") as store:
        with pytest.raises(StoreError, match=r"forbidden .* \(403\)"):
            await store.read()
    async with opened(api, Admin(), account, sidecars="http://no-such-service.invalid:9900") as store:
        with pytest.raises(StoreError, match=r"no sidecar is found by no-such-service\.invalid"):
            await store.read()
    async with opened(api, Admin(), account, account=str(account / "none")) as store:
        with pytest.raises(StoreError, match=r"service account's token .*No such file"):
            await store.read()
    place = ConfigMap.model_validate({"name": "a", "sidecars": "http://127.0.0.1:1", "account": str(account)})
    with pytest.raises(StoreError, match="this is no pod"):
        await ConfigMapStore(place, None, {}).read()
    (account / "ca.crt").write_text("no certificate")
    with pytest.raises(StoreError, match="the API server: "):
        await ConfigMapStore(
            place, None, {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "1"}
        ).read()


def test_the_store_is_the_plans() -> None:
    plan = make_plan(apply={"configmap": {"name": "cutover-rollout", "sidecars": "http://a:1"}, "token": "t"})
    store = open_store(plan, {})
    assert isinstance(store, ConfigMapStore)
    assert repr(store) == "<ConfigMapStore here/cutover-rollout>"
