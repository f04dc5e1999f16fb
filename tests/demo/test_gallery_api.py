"""Both APIs on the real databases: what one answers, the other answers too."""

import json

import pytest

from proxy.demo.checks import object_of
from proxy.demo.compare import compare_sources, walk
from proxy.demo.gallery import Gallery
from proxy.demo.gallery_app import MAX_BODY_BYTES
from proxy.demo.model import encode_json, image_as_json
from proxy.demo.seed import BUSY_USER, BUSY_USER_IMAGES, EMPTY_USER

pytestmark = pytest.mark.asyncio(loop_scope="session")

UPLOAD = {
    "userId": "uploader",
    "title": "Łódź 🧱",
    "url": "https://x/y",
    "width": 1,
    "height": 2,
    "sizeBytes": 2**53 - 1,
}


async def ask(http, gallery: Gallery, source: str, method: str, path: str, **request):
    base, headers = gallery.legacy_url, {}
    if source == "image_service":
        base, headers = gallery.image_service_url, gallery.authorization
    async with http.request(method, base + path, headers=headers, **request) as response:
        return response.status, await response.read(), response.headers


async def ask_both(http, gallery, method, path, **request):
    legacy = await ask(http, gallery, "legacy", method, path, **request)
    target = await ask(http, gallery, "image_service", method, path, **request)
    assert legacy[:2] == target[:2]
    assert legacy[2]["Content-Type"] == target[2]["Content-Type"]
    return legacy


async def test_every_seeded_image_is_the_same_bytes_from_both(gallery, http):
    for image in gallery.content.images:
        status, body, headers = await ask_both(http, gallery, "GET", f"/images/{image.id}")
        assert status == 200
        assert body == encode_json(image_as_json(image))
        assert headers["Content-Type"].startswith("application/json")


async def test_every_list_is_the_same_bytes_from_both(gallery, http):
    for user in gallery.content.users:
        status, _, _ = await ask_both(http, gallery, "GET", "/images", params={"userId": user})
        assert status == 200


async def test_a_user_without_images_and_an_unknown_one_have_empty_lists(gallery, http):
    for user in (EMPTY_USER, "nobody"):
        _, body, _ = await ask_both(http, gallery, "GET", "/images", params={"userId": user})
        assert body == b'{"items":[],"nextCursor":null}'


@pytest.mark.parametrize("limit", [1, 7, 100])
async def test_one_walk_may_change_sources_and_still_sees_everything_once(gallery, http, limit):
    expected = sorted(
        ((image.created_at, image.id) for image in gallery.content.images if image.user_id == BUSY_USER), reverse=True
    )
    seen, query, sources = [], {"userId": BUSY_USER, "limit": str(limit)}, ("legacy", "image_service")
    for turn in range(BUSY_USER_IMAGES + 1):
        _, body, _ = await ask(http, gallery, sources[turn % 2], "GET", "/images", params=query)
        page = object_of(body)
        seen += [item["id"] for item in page["items"]]
        if page["nextCursor"] is None:
            break
        query["cursor"] = page["nextCursor"]
    assert seen == [image_id for _, image_id in expected]


async def test_the_default_page_has_twenty(gallery, http):
    _, body, _ = await ask_both(http, gallery, "GET", "/images", params={"userId": BUSY_USER})
    assert len(object_of(body)["items"]) == 20


@pytest.mark.parametrize(
    ("method", "path", "request_", "status"),
    [
        ("GET", "/images/img-none", {}, 404),
        ("GET", "/images/a%20b", {}, 404),
        ("GET", "/nothing", {}, 404),
        ("POST", "/images/x", {}, 405),
        ("GET", "/images", {}, 400),
        ("GET", "/images", {"params": {"userId": ""}}, 400),
        ("GET", "/images", {"params": {"userId": "a\0"}}, 400),
        ("GET", "/images", {"params": {"userId": "u", "limit": "0"}}, 400),
        ("GET", "/images", {"params": {"userId": "u", "limit": "101"}}, 400),
        ("GET", "/images", {"params": {"userId": "u", "limit": "٣"}}, 400),
        ("GET", "/images", {"params": {"userId": "u", "cursor": "x"}}, 400),
        ("POST", "/images", {"data": b"{"}, 400),
        ("POST", "/images", {"data": b"[]"}, 400),
        ("POST", "/images", {"data": b"\xff"}, 400),
        ("POST", "/images", {"data": b"[" * 50_000}, 400),
        ("POST", "/images", {"json": {}}, 422),
        ("POST", "/images", {"json": UPLOAD | {"title": ""}}, 422),
        ("PUT", "/images/img-none", {"json": UPLOAD}, 404),
        ("PUT", "/images/img-none", {"json": {"title": "only"}}, 422),
        ("PATCH", "/images/img-none", {"json": {"id": "img-other"}}, 422),
        ("DELETE", "/images/img-none", {}, 404),
        ("POST", "/images", {"data": b"x" * (MAX_BODY_BYTES + 1)}, 413),
    ],
)
async def test_both_refuse_alike(gallery, http, method, path, request_, status):
    got, body, headers = await ask_both(http, gallery, method, path, **request_)
    assert got == status
    assert headers["Content-Type"].startswith("application/problem+json")
    assert object_of(body)["status"] == status


async def test_an_id_that_is_taken_is_a_conflict_in_both(gallery, http):
    taken = gallery.content.images[0].id
    status, _, _ = await ask_both(http, gallery, "POST", "/images", json=UPLOAD | {"id": taken})
    assert status == 409


@pytest.mark.parametrize("given", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic x"}])
async def test_the_image_service_asks_for_its_token(gallery, http, given):
    paths = [("GET", "/images/x"), ("PUT", "/internal/images/x"), ("PUT", "/internal/faults"), ("GET", "/nothing")]
    for method, path in paths:
        async with http.request(method, gallery.image_service_url + path, headers=given) as response:
            assert response.status == 401
            assert response.headers["WWW-Authenticate"] == "Bearer"


async def test_a_whole_life_on_the_legacy_api_reaches_the_image_service(gallery, http):
    status, body, headers = await ask(http, gallery, "legacy", "POST", "/images", json=UPLOAD)
    path = headers["Location"]
    assert (status, headers["X-Dual-Write"]) == (201, "settled")
    assert (await ask_both(http, gallery, "GET", path))[1] == body
    await ask_both(http, gallery, "GET", "/images", params={"userId": "uploader"})

    status, body, headers = await ask(http, gallery, "legacy", "PATCH", path, json={"tags": ["a", "b"]})
    assert (status, headers["X-Dual-Write"]) == (200, "settled")
    changed = object_of(body)
    assert changed["tags"] == ["a", "b"]
    assert changed["updatedAt"] > changed["createdAt"]
    assert (await ask_both(http, gallery, "GET", path))[1] == body

    status, body, _ = await ask(http, gallery, "legacy", "PUT", path, json=changed | {"title": "new", "albumId": None})
    assert status == 200
    assert (await ask_both(http, gallery, "GET", path))[1] == body

    status, body, _ = await ask(http, gallery, "legacy", "DELETE", path)
    assert (status, body) == (204, b"")
    assert (await ask_both(http, gallery, "GET", path))[0] == 404
    assert await walk(http, gallery.image_service_url, "uploader", gallery.authorization) == [
        b'{"items":[],"nextCursor":null}'
    ]


async def test_the_image_service_can_be_written_to_directly(gallery, http):
    ask_target = lambda *call, **request: ask(http, gallery, "image_service", *call, **request)  # noqa: E731 - shorter
    status, _, headers = await ask_target("POST", "/images", json=UPLOAD | {"userId": "direct"})
    path = headers["Location"]
    assert status == 201
    assert "X-Dual-Write" not in headers
    await ask_target("GET", path)
    status, body, _ = await ask_target("PATCH", path, json={"title": "other"})
    assert status == 200
    assert (await ask_target("GET", path))[1] == body  # not the CDN's old copy
    assert (await ask_target("DELETE", path))[0] == 204
    assert (await ask_target("DELETE", path))[0] == 404
    assert (await ask_target("PATCH", path, json={"title": "x"}))[0] == 404


async def test_the_last_writer_wins_whatever_arrives_last(gallery, http):
    image = gallery.content.images[5]
    old = image_as_json(image) | {"title": "older", "updatedAt": "2001-01-01T00:00:00.000Z"}
    path = f"/internal/images/{image.id}"
    _, body, _ = await ask(http, gallery, "image_service", "PUT", path, json=old)
    assert json.loads(body) == {"applied": False}
    query = {"deletedAt": "2001-01-01T00:00:00.000Z", "userId": image.user_id}
    _, body, _ = await ask(http, gallery, "image_service", "DELETE", path, params=query)
    assert json.loads(body) == {"applied": False}
    await ask_both(http, gallery, "GET", f"/images/{image.id}")
    status, _, _ = await ask(http, gallery, "image_service", "PUT", path, json={"id": 1})
    assert status == 422


async def test_the_cdn_says_miss_then_hit_and_forgets_what_is_written(gallery, http):
    image = next(image for image in gallery.content.images if image.user_id == "user-005")
    queries = [(f"/images/{image.id}", {}), ("/images", {"params": {"userId": "user-005", "limit": "100"}})]
    await ask(http, gallery, "legacy", "PATCH", queries[0][0], json={"title": "purged once"})
    for path, request in queries:
        answers = [await ask(http, gallery, "image_service", "GET", path, **request) for _ in range(2)]
        assert [a[2]["X-Cache"] for a in answers] == ["Miss from cloudfront", "Hit from cloudfront"]
        assert answers[0][1] == answers[1][1]
    await ask(http, gallery, "legacy", "PATCH", queries[0][0], json={"title": "purged twice"})
    for path, request in queries:
        _, body, headers = await ask(http, gallery, "image_service", "GET", path, **request)
        assert headers["X-Cache"] == "Miss from cloudfront"
        assert b"purged twice" in body


async def test_head_answers_like_get_without_a_body(gallery, http):
    status, body, headers = await ask_both(http, gallery, "HEAD", f"/images/{gallery.content.images[0].id}")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 100


async def test_both_sources_agree_on_everything(gallery):
    compared, agree = await compare_sources(gallery)
    assert agree
    assert compared == 400
