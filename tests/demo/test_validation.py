from datetime import UTC, datetime

import pytest

from proxy.demo.faults import Faults, parse_faults
from proxy.demo.validation import InvalidFieldsError, apply_changes, check_identity, new_image, parse_changes

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
GOOD = {"userId": "u", "title": "t", "url": "https://x/y", "width": 1, "height": 2, "sizeBytes": 3}


def problems_of(**changed):
    with pytest.raises(InvalidFieldsError) as caught:
        new_image(GOOD | changed, "img-1", NOW)
    return set(caught.value.problems)


def test_the_smallest_upload_gets_the_defaults_and_whole_milliseconds():
    image = new_image(GOOD, "img-1", NOW)
    assert (image.id, image.description, image.tags, image.album_id, image.thumbnail_url) == (
        "img-1",
        "",
        (),
        None,
        None,
    )
    assert image.created_at == image.updated_at == NOW.replace(microsecond=123000)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("title", ""),
        ("title", "x" * 201),
        ("title", 5),
        ("title", "a\0b"),
        ("title", "\ud800"),
        ("description", None),
        ("description", "x" * 20_001),
        ("url", "ftp://x"),
        ("thumbnailUrl", "x"),
        ("tags", "moc"),
        ("tags", [""]),
        ("tags", ["x"] * 31),
        ("albumId", "a b"),
        ("width", 0),
        ("width", True),
        ("height", 1.5),
        ("height", float("nan")),
        ("sizeBytes", 2**53),
        ("id", "../x"),
        ("id", None),
        ("userId", ""),
        ("colour", "red"),
    ],
)
def test_a_wrong_field_is_named(name, value):
    assert problems_of(**{name: value}) == {name}


def test_all_problems_are_reported_at_once():
    with pytest.raises(InvalidFieldsError) as caught:
        new_image({"title": "", "nonsense": 1}, "img-1", NOW)
    assert set(caught.value.problems) == {"title", "nonsense", "userId", "url", "width", "height", "sizeBytes"}


def test_put_resets_what_it_leaves_out_and_patch_does_not():
    image = new_image(GOOD | {"tags": ["a"], "albumId": "b"}, "img-1", NOW)
    put = {name: value for name, value in GOOD.items() if name != "userId"}
    assert apply_changes(image, parse_changes(put, complete=True), NOW).tags == ()
    patched = apply_changes(image, parse_changes({"title": "new"}, complete=False), NOW)
    assert (patched.title, patched.tags, patched.album_id) == ("new", ("a",), "b")
    assert patched.updated_at > image.updated_at


def test_a_body_for_another_image_than_the_path_is_refused():
    check_identity({"id": "a"}, "a")
    with pytest.raises(InvalidFieldsError):
        check_identity({"id": "b"}, "a")


def test_faults_left_out_are_off_and_wrong_ones_are_named():
    assert parse_faults({"latency_ms": 5}) == Faults(latency_ms=5)
    wrong = {"latency_ms": -1, "error_ratio": 1.1, "reset_ratio": True, "black_hole": 1, "seed": 0.5, "fire": 1}
    with pytest.raises(InvalidFieldsError) as caught:
        parse_faults(wrong)
    assert set(caught.value.problems) == set(wrong)
