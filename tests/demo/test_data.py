"""The demo's data: moved by the real commands into an empty target, with users writing meanwhile."""

from pathlib import Path

import yaml

from proxy.demo.data import ATTRIBUTES, move_data
from proxy.demo.gallery import Gallery, GalleryOptions


async def test_the_gallery_is_migrated_and_verified_while_users_write():
    said = []
    async with Gallery(GalleryOptions(users=20, images=200, fill_target=False)) as gallery:
        moved = await move_data(gallery, said.append)
    assert moved.migrated["read"] >= 200
    assert moved.migrated["rejected"] == 0
    assert moved.verified["compared"] >= 200
    assert moved.compared_apis["compared"] >= 60
    assert moved.writes > 0
    assert len(said) == 4


def test_its_mapping_is_the_shipped_one():
    shipped = yaml.safe_load((Path(__file__).parents[2] / "config" / "migration.yaml").read_text())
    assert shipped["attributes"] == ATTRIBUTES
