"""What counts as a CDN's hit or miss, as docs/metrics.md says."""

import pytest

from proxy.telemetry.upstream_cache import HIT_WORDS, MISS_WORDS, NEITHER_WORDS, cache_result
from tests.net.harness import running


def judged(**fields):
    """`x_cache` may be one value or several fields."""
    noted = {
        name.replace("_", "-").encode(): tuple(one.encode() for one in ([value] if isinstance(value, str) else value))
        for name, value in fields.items()
    }
    return cache_result(noted)


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ("Hit from cloudfront", "hit"),
        ("RefreshHit from cloudfront", "hit"),
        ("OriginShieldHit from cloudfront", "hit"),
        ("Miss from cloudfront", "miss"),
        ("Error from cloudfront", None),
        ("LimitExceeded from cloudfront", None),
        ("FunctionGeneratedResponse from cloudfront", None),
        ("Redirect from cloudfront", None),
        ("HIT", "hit"),
        ("MISS", "miss"),
        ("PASS", "miss"),
        ("MISS, HIT", "hit"),
        ("HIT, MISS", "hit"),
        ("MISS, MISS", "miss"),
        (["MISS", "HIT"], "hit"),
        ("TCP_MEM_HIT from a1-2-3.deploy.akamaitechnologies.com (AkamaiGHost/22)", "hit"),
        ("TCP_MISS from a1-2-3.deploy.akamaitechnologies.com", "miss"),
        ("MISS from a-host-named-hit", "miss"),
        ("white hit", None),
        ("", None),
        (", ,", None),
        ("\xff\xfe", None),
    ],
)
def test_x_cache_is_read_by_its_first_words(value, result):
    assert judged(x_cache=value) == result


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ("HIT", "hit"),
        ("STALE", "hit"),
        ("UPDATING", "hit"),
        ("REVALIDATED", "hit"),
        ("MISS", "miss"),
        ("EXPIRED", "miss"),
        ("BYPASS", "miss"),
        ("DYNAMIC", "miss"),
        ("NONE/UNKNOWN", None),
        ("none", None),
    ],
)
def test_cf_cache_status_is_read_too(value, result):
    assert judged(cf_cache_status=value) == result


@pytest.mark.parametrize(
    ("value", "result"),
    [("0", "miss"), ("1", "hit"), ("86400", "hit"), ("-1", None), ("1.5", None), ("", None), ("9" * 11, None)],
)
def test_age_tells_where_nothing_else_does(value, result):
    assert judged(age=value) == result


def test_two_ages_tell_nothing():
    assert judged(age=["0", "5"]) is None


@pytest.mark.parametrize(
    ("fields", "result"),
    [
        ({"x_cache": "Miss from cloudfront", "cf_cache_status": "HIT", "age": "9"}, "miss"),
        ({"x_cache": "nonsense", "cf_cache_status": "HIT", "age": "0"}, "hit"),
        ({"x_cache": "nonsense", "age": "0"}, "miss"),
        ({"x_cache": "Error from cloudfront", "age": "7"}, None),
        ({"cf_cache_status": "NONE/UNKNOWN", "age": "7"}, None),
    ],
)
def test_the_first_that_tells_decides(fields, result):
    assert judged(**fields) == result


def test_without_such_a_field_nothing_is_said():
    assert cache_result({}) is None


def test_no_word_is_in_two_lists():
    assert not HIT_WORDS & MISS_WORDS
    assert not (HIT_WORDS | MISS_WORDS) & NEITHER_WORDS


@pytest.mark.parametrize("role", ["legacy", "target"])
async def test_each_source_is_counted_under_its_operation(role):
    async with running(rollout={"percentage": 100 if role == "target" else 0}) as world:
        source = getattr(world, role)
        client = world.client()
        for words in (
            "Hit from cloudfront",
            "RefreshHit from cloudfront",
            "Miss from cloudfront",
            "Error from cloudfront",
        ):
            await client.request("GET /images/1")
            await source.answer(b"ok", "200 OK", f"X-Cache: {words}")
        name = {"legacy": "postgresql", "target": "image_service"}[role]
        assert world.counted("cache") == {(name, "get", "hit"): 2, (name, "get", "miss"): 1}
