"""The admin API: every endpoint, every status code, and who may change what."""

import json

import pytest

from proxy.admin.api import build_admin_app
from proxy.admin.control import NotPersistable, RevisionMismatch, RolloutChange, RolloutOutcome

REVISION = "0123456789ab"
JSON = {"Content-Type": "application/json"}


class FakeControl:
    """A proxy that does as it is told, and remembers what it was told."""

    def __init__(self):
        self.is_ready = True
        self.token = None
        self.local = True
        self.failure = None
        self.changes = []
        self.rollbacks = 0
        self.explained = []

    def ready(self):
        return self.is_ready

    def revision(self):
        return REVISION

    async def status(self):
        return {"version": "1.2.3", "revision": REVISION, "percentage": 10}

    def explain(self, user, method, path):
        if method == "BAD":
            raise ValueError("no such method")
        self.explained.append((user, method, path))
        return {"source": "image_service", "reason": "bucket", "bucket": 42}

    def effective_config(self):
        return {"rollout": {"percentage": 10}}

    async def expose_metrics(self, accept):
        return b"metrics\n", f"text/plain; version=0.0.4; charset=utf-8; for={accept or 'any'}"

    def admin_token(self):
        return self.token

    def listens_on_loopback_only(self):
        return self.local

    async def change_rollout(self, change):
        if self.failure is not None:
            raise self.failure
        self.changes.append(change)
        return RolloutOutcome(change.percentage or 0, bool(change.enabled), REVISION, persisted=change.persist)

    async def roll_back(self):
        if self.failure is not None:
            raise self.failure
        self.rollbacks += 1
        return RolloutOutcome(0, enabled=False, revision=REVISION, persisted=False, note="as an override")


@pytest.fixture
def control():
    return FakeControl()


@pytest.fixture
def audited():
    return []


@pytest.fixture
async def client(control, audited, aiohttp_client):
    return await aiohttp_client(build_admin_app(control, lambda event, /, **fields: audited.append((event, fields))))


async def patch(client, body='{"percentage": 10}', query="", headers=None):
    return await client.patch(f"/rollout{query}", data=body, headers={**JSON, **(headers or {})})


async def assert_problem(response, status, words=""):
    assert response.status == status
    assert response.content_type == "application/problem+json"
    told = json.loads(await response.text())
    assert told["status"] == status
    assert told["title"]
    assert words in told["detail"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/", "text/plain"),
        ("/healthz", "application/json"),
        ("/readyz", "application/json"),
        ("/metrics", "text/plain"),
        ("/status", "application/json"),
        ("/explain?user=u", "application/json"),
        ("/config", "application/json"),
    ],
)
async def test_each_endpoint_answers_get_and_head(client, path, content_type):
    got = await client.get(path)
    assert (got.status, got.content_type) == (200, content_type)
    assert got.headers["X-Content-Type-Options"] == "nosniff"
    assert got.headers["Cache-Control"] == "no-store"
    head = await client.head(path)
    assert (head.status, head.content_type) == (200, content_type)
    assert head.headers["Content-Length"] == got.headers["Content-Length"]
    assert await head.read() == b""


async def test_the_index_lists_the_endpoints(client):
    text = await (await client.get("/")).text()
    for path in ("/healthz", "/readyz", "/metrics", "/status", "/explain", "/config", "/rollout", "/rollback"):
        assert path in text


async def test_readyz_fails_while_starting_or_draining_and_healthz_does_not(client, control):
    control.is_ready = False
    await assert_problem(await client.get("/readyz"), 503, "draining")
    assert (await client.get("/healthz")).status == 200


async def test_metrics_are_negotiated_by_the_control(client):
    response = await client.get("/metrics", headers={"Accept": "application/openmetrics-text"})
    assert response.headers["Content-Type"].endswith("for=application/openmetrics-text")
    assert await response.read() == b"metrics\n"


@pytest.mark.parametrize("path", ["/status", "/config"])
async def test_the_revision_is_the_etag(client, path):
    assert (await client.get(path)).headers["ETag"] == f'"{REVISION}"'


async def test_status_and_config_are_passed_on(client, control):
    assert await (await client.get("/status")).json() == await control.status()
    assert await (await client.get("/config")).json() == control.effective_config()


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("?user=u1&method=PUT&path=/images/1", ("u1", "PUT", "/images/1")),
        ("?user=u1", ("u1", "GET", "/images/1")),
        ("", (None, "GET", "/images/1")),
        ("?user=", (None, "GET", "/images/1")),
        ("?user=a%20b&path=/images%3Fx%3D1", ("a b", "GET", "/images?x=1")),
    ],
)
async def test_explain_asks_for_what_the_query_says(client, control, query, asked):
    response = await client.get(f"/explain{query}")
    assert (await response.json())["bucket"] == 42
    assert control.explained == [asked]


async def test_explain_refuses_what_makes_no_request(client):
    await assert_problem(await client.get("/explain?path=images"), 400, "path")
    await assert_problem(await client.get("/explain?method=BAD"), 400, "no such method")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/status", "GET, HEAD"),
        ("GET", "/rollout", "PATCH"),
        ("PUT", "/rollout", "PATCH"),
        ("GET", "/rollback", "POST"),
        ("DELETE", "/", "GET, HEAD"),
        ("OPTIONS", "/rollout", "PATCH"),
    ],
)
async def test_a_wrong_method_is_told_the_right_one(client, method, path, allowed):
    response = await client.request(method, path)
    await assert_problem(response, 405)
    assert response.headers["Allow"] == allowed


@pytest.mark.parametrize("path", ["/nothing", "/status/", "/metrics/x"])
async def test_an_unknown_path_is_a_404(client, path):
    await assert_problem(await client.get(path), 404)


async def test_a_fault_of_ours_is_a_500_that_tells_nothing_and_is_logged(client, control, audited):
    control.status = lambda: 1 / 0
    await assert_problem(await client.get("/status"), 500, "the log says why")
    assert audited[0][0] == "admin_request_failed"
    assert "ZeroDivisionError" in audited[0][1]["error"]


# Changes


@pytest.mark.parametrize(
    ("body", "query", "change"),
    [
        ('{"percentage": 10}', "", RolloutChange(percentage=10)),
        ('{"percentage": 0}', "", RolloutChange(percentage=0)),
        ('{"percentage": 100, "enabled": true}', "", RolloutChange(percentage=100, enabled=True)),
        ('{"enabled": false}', "", RolloutChange(enabled=False)),
        ('{"enabled": true}', "?persist=false", RolloutChange(enabled=True, persist=False)),
        ('{"enabled": true}', "?persist=true", RolloutChange(enabled=True)),
    ],
)
async def test_a_change_is_carried_out_as_wished(client, control, body, query, change):
    response = await patch(client, body, query)
    assert response.status == 200
    assert response.headers["ETag"] == f'"{REVISION}"'
    assert control.changes == [change]
    assert (await response.json())["persisted"] is change.persist


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("", "JSON"),
        ("{", "JSON"),
        ("\xff".encode("latin-1"), "JSON"),
        ("[" * 4000, "JSON"),
        ("[]", "object"),
        ("10", "object"),
        ("null", "object"),
        ("{}", "nothing to change"),
        ('{"percent": 10}', '"percent"'),
        ('{"percentage": 10, "salt": "x"}', '"salt"'),
        ('{"percentage": 10, "percentage": 20}', "duplicate"),
        ('{"percentage": 10.0}', "whole number"),
        ('{"percentage": 1e1}', "whole number"),
        ('{"percentage": "10"}', "whole number"),
        ('{"percentage": true}', "whole number"),
        ('{"percentage": null}', "whole number"),
        ('{"percentage": -1}', "whole number"),
        ('{"percentage": 101}', "whole number"),
        ('{"percentage": NaN}', "whole number"),
        ('{"enabled": 1}', "true or false"),
        ('{"enabled": "true"}', "true or false"),
        ('{"enabled": null}', "true or false"),
    ],
)
async def test_a_body_that_is_not_exactly_right_is_refused(client, control, body, words):
    await assert_problem(await patch(client, body), 400, words)
    assert control.changes == []


async def test_a_body_of_4_kib_is_read_and_a_longer_one_is_not(client, control):
    body = '{"percentage": 10}'
    assert (await patch(client, body + " " * (4096 - len(body)))).status == 200
    await assert_problem(await patch(client, body + " " * (4097 - len(body))), 413)
    assert len(control.changes) == 1


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_only_json_is_read(client, control, content_type):
    await assert_problem(await patch(client, headers={"Content-Type": content_type}), 415)
    assert control.changes == []


async def test_a_charset_beside_json_does_no_harm(client):
    assert (await patch(client, headers={"Content-Type": "application/json; charset=utf-8"})).status == 200


async def test_persist_is_true_or_false(client, control):
    await assert_problem(await patch(client, query="?persist=maybe"), 400, "persist")
    assert control.changes == []


@pytest.mark.parametrize(
    ("value", "revision"),
    [('"0123"', "0123"), ("0123", "0123"), (" 0123 ", "0123"), ("*", None), (None, None)],
)
async def test_if_match_is_handed_on_without_its_quotes(client, control, value, revision):
    response = await patch(client, headers={} if value is None else {"If-Match": value})
    assert response.status == 200
    assert control.changes[0].if_match == revision


@pytest.mark.parametrize("value", ["", '""', '"a", "b"', 'W/"a"', '"a'])
async def test_an_if_match_that_is_not_one_revision_is_refused(client, control, value):
    await assert_problem(await patch(client, headers={"If-Match": value}), 400, "If-Match")
    assert control.changes == []


async def test_a_revision_that_is_not_in_force_is_a_412_with_the_one_that_is(client, control):
    control.failure = RevisionMismatch("ffffffffffff")
    response = await patch(client, headers={"If-Match": "0123"})
    await assert_problem(response, 412, "ffffffffffff")
    assert response.headers["ETag"] == '"ffffffffffff"'


async def test_a_file_that_cannot_be_written_is_a_409(client, control):
    control.failure = NotPersistable("the file is read-only")
    await assert_problem(await patch(client), 409, "the file is read-only")


async def test_a_rollback_needs_no_body_and_says_what_it_did(client, control):
    response = await client.post("/rollback")
    assert response.status == 200
    assert response.headers["ETag"] == f'"{REVISION}"'
    assert await response.json() == {
        "percentage": 0,
        "enabled": False,
        "revision": REVISION,
        "persisted": False,
        "note": "as an override",
    }
    assert control.rollbacks == 1


async def test_changes_and_their_refusals_are_audited_with_who_asked(client, control, audited):
    await patch(client, '{"percentage": 25}')
    control.token = "s3cret"
    await patch(client, headers={"Authorization": "Bearer wrong"})
    await client.get("/status")
    (changed, facts), (refused, why) = audited
    assert (changed, facts["remote"], facts["request"]) == ("admin_change", "127.0.0.1", "PATCH /rollout")
    assert (facts["percentage"], facts["persisted"]) == (25, True)
    assert (refused, why["remote"]) == ("admin_change_refused", "127.0.0.1")
    assert "s3cret" not in str(audited)
    assert "wrong" not in str(audited)


# Who may change


@pytest.mark.parametrize("change", ["patch", "rollback"])
@pytest.mark.parametrize(
    ("token", "local", "authorization", "status"),
    [
        (None, True, None, 200),
        (None, True, "Bearer whatever", 200),
        (None, False, None, 403),
        (None, False, "Bearer whatever", 403),
        ("", False, "Bearer ", 403),
        ("s3cret", True, None, 401),
        ("s3cret", False, None, 401),
        ("s3cret", False, "Bearer wrong", 401),
        ("s3cret", False, "Bearer s3cret2", 401),
        ("s3cret", False, "Bearer", 401),
        ("s3cret", False, "Bearer \u00e9", 401),
        ("s3cret", False, "Basic s3cret", 401),
        ("s3cret", False, "s3cret", 401),
        ("s3cret", False, "Bearer s3cret", 200),
        ("s3cret", True, "bearer s3cret", 200),
        ("s3cr\u00e9t", True, "Bearer s3cr\u00e9t", 200),
    ],
)
async def test_the_token_decides_and_without_one_the_address(
    client, control, change, token, local, authorization, status
):
    control.token, control.local = token, local
    headers = {} if authorization is None else {"Authorization": authorization}
    if change == "patch":
        response = await patch(client, headers=headers)
    else:
        response = await client.post("/rollback", headers=headers)
    assert response.status == status
    assert (len(control.changes) + control.rollbacks) == (status == 200)
    if status != 200:
        await assert_problem(response, status)
    assert ("WWW-Authenticate" in response.headers) == (status == 401)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/status", "/config", "/explain"])
async def test_reading_needs_no_token(client, control, path):
    control.token, control.local = "s3cret", False
    assert (await client.get(path)).status == 200


@pytest.mark.parametrize("token", [None, "s3cret"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost:9900"}, 200),
        ({"Host": "LOCALHOST"}, 200),
        ({"Host": "127.0.0.1:9900", "Origin": "http://127.0.0.1:9900"}, 200),
        ({"Host": "[::1]:9900", "Origin": "http://[::1]:9900"}, 200),
        ({"Host": "127.8.9.1"}, 200),
        ({"Host": "localhost", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Host": "localhost", "Sec-Fetch-Site": "none"}, 200),
        ({"Host": "localhost", "Sec-Fetch-Site": "same-site"}, 403),
        ({"Host": "localhost", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Host": "localhost", "Sec-Fetch-Site": "what"}, 403),
        ({"Host": "localhost", "Origin": "http://evil.example"}, 403),
        ({"Host": "localhost", "Origin": "http://localhost:8080"}, 403),
        ({"Host": "localhost", "Origin": "null"}, 403),
        ({"Host": "localhost", "Origin": ""}, 403),
        ({"Host": "localhost", "Origin": "http://[::1"}, 403),
        ({"Host": "localhost", "Origin": "file://localhost"}, 403),
    ],
)
async def test_changes_for_pages_of_other_sites_are_refused(client, control, token, headers, status):
    control.token = token
    authorization = {} if token is None else {"Authorization": f"Bearer {token}"}
    response = await patch(client, headers={**headers, **authorization})
    assert response.status == status
    assert len(control.changes) == (status == 200)


@pytest.mark.parametrize("host", ["rebound.example:9900", "10.0.0.1", "localhost.evil.example", "[::2]", "[", "127.1"])
async def test_without_a_token_a_rebound_name_is_refused(client, control, host):
    # The page's own origin: to the browser this is a same-origin request.
    headers = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
    await assert_problem(await patch(client, headers=headers), 403)
    assert control.changes == []
    if host != "[":
        control.token = "s3cret"
        assert (await patch(client, headers={**headers, "Authorization": "Bearer s3cret"})).status == 200
