import unicodedata
from collections import Counter

import pytest

from proxy.demo.seed import BUSY_USER, BUSY_USER_IMAGES, EMPTY_USER, make_seed

CONTENT = make_seed()


def test_the_same_seed_gives_the_same_content_and_another_seed_another():
    assert make_seed() == CONTENT
    assert make_seed(seed=6) != CONTENT


def test_it_has_the_promised_size_with_unique_ids():
    assert len(CONTENT.users) == 300
    assert len(CONTENT.images) == len({image.id for image in CONTENT.images}) == 2000


def test_one_user_has_nothing_one_has_over_a_hundred_and_everybody_else_something():
    counts = Counter(image.user_id for image in CONTENT.images)
    assert counts[EMPTY_USER] == 0
    assert counts[BUSY_USER] == BUSY_USER_IMAGES > 100
    assert set(counts) == set(CONTENT.users) - {EMPTY_USER}


def test_the_shapes_that_break_migrations_are_all_there():
    titles = {image.title for image in CONTENT.images}
    assert any("\u0301" in title for title in titles)
    assert any(unicodedata.bidirectional(title[0]) in {"R", "AL"} for title in titles)
    assert any("大" in title for title in titles)
    assert any("🧱" in title for title in titles)
    assert any(not image.tags for image in CONTENT.images)
    assert any(image.thumbnail_url is None for image in CONTENT.images)
    assert any(image.album_id is None for image in CONTENT.images)
    assert any(image.description == "" for image in CONTENT.images)
    assert any(len(image.description.encode()) > 4096 for image in CONTENT.images)
    assert any(image.size_bytes > 2**32 for image in CONTENT.images)
    ties = Counter((image.user_id, image.created_at) for image in CONTENT.images)
    assert max(ties.values()) > 5


def test_a_gallery_too_small_for_these_shapes_is_refused():
    with pytest.raises(ValueError, match="at least"):
        make_seed(5, 100)
