import json

import pytest

from proxy.demo.checks import bucket_of, image_error, judge_sides, off_side, page_error
from proxy.demo.model import encode_page, image_as_json
from proxy.demo.seed import make_seed
from proxy.demo.stats import Record

IMAGES = sorted(
    (image for image in make_seed(10, 200).images if image.user_id == "user-002"),
    key=lambda image: (image.created_at, image.id),
    reverse=True,
)
USER = "user-1"  # bucket 59


def record(**facts):
    known = {"user": USER, "operation": "get", "started_s": 1.0, "ended_s": 1.1, "status": 200, "bucket": 59}
    return Record(**known | facts)


@pytest.mark.parametrize(("user", "bucket"), [("user-1", 59), ("", 0)])
def test_buckets_are_those_of_the_contract(user, bucket):
    assert bucket_of(user) == bucket


RIGHT = [
    (59, {"source": "postgresql"}),
    (60, {"source": "image_service"}),
    (60, {"source": "postgresql", "fallback": "timeout"}),
    (60, {"source": "postgresql", "reason": "breaker_open"}),
    (100, {"source": "postgresql", "operation": "upload"}),
    (0, {"source": "postgresql", "bucket": None, "reason": "percentage"}),
    (100, {"source": None, "status": None, "bucket": None}),
    (100, {"source": "proxy", "status": 502}),
]
WRONG = [
    (59, {"source": "image_service"}),
    (60, {"source": "postgresql"}),
    (0, {"source": "image_service"}),
    (100, {"source": "postgresql"}),
    (100, {"source": "image_service", "operation": "upload"}),
    (59, {"source": "postgresql", "fallback": "timeout"}),
    (60, {"source": "image_service", "bucket": 58}),
    (60, {"source": None}),
]


@pytest.mark.parametrize(("percentage", "facts"), RIGHT)
def test_the_right_side_is_accepted(percentage, facts):
    assert off_side(record(**facts), percentage) is None


@pytest.mark.parametrize(("percentage", "facts"), WRONG)
def test_the_wrong_side_is_caught(percentage, facts):
    assert USER in off_side(record(**facts), percentage)


def test_only_requests_wholly_inside_a_phase_are_judged():
    wrong = [
        record(source="image_service", started_s=0.9),
        record(source="image_service", ended_s=2.1),
    ]
    assert judge_sides(wrong, 0, 1.0, 2.0).judged == 0
    report = judge_sides([*wrong, record(source="image_service"), record(source="postgresql")], 0, 1.0, 2.0)
    assert (report.judged, report.users_off_side) == (2, (USER,))
    assert len(report.examples) == 1


def page(images, limit=20):
    return json.loads(encode_page(images, limit))


def error_of(document, user="user-002", limit=20):
    return page_error(json.dumps(document).encode(), user, limit)


def test_a_right_page_has_no_error():
    assert error_of(page(IMAGES[:21])) is None
    assert error_of(page([])) is None


def test_wrong_pages_are_caught():
    assert page_error(b"{", "user-002", 20) == "not a page"
    assert page_error(b"[]", "user-002", 20) == "not a page"
    assert error_of(page(IMAGES[:5]), limit=4) == "5 images on a page of 4"
    assert error_of(page(IMAGES[:5]), user="user-003") == "an image of user-002 for user-003"
    assert error_of(page(IMAGES[4::-1])) == "a page out of order"
    assert error_of(page([IMAGES[0], IMAGES[0]])) == "a page out of order"


def test_wrong_images_are_caught():
    document = image_as_json(IMAGES[0])
    assert image_error(document, "user-002", IMAGES[0].id) is None
    assert "asked for other" in image_error(document, "user-002", "other")
    assert "for user-003" in image_error(document, "user-003", IMAGES[0].id)
    assert image_error(None, "user-002") == image_error({"id": "x"}, "user-002") == "not a whole image"
