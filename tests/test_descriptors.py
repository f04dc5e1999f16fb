"""How many connections fit into the limit of open files."""

from pathlib import Path

import pytest

from proxy.descriptors import fitting_connections
from proxy.settings.load import parse_settings

CONFIG = b"legacy: {url: http://a}\ntarget: {url: http://b}\n"


@pytest.mark.parametrize(
    ("descriptors", "connections"),
    [(1_048_576, 10_000), (20_000, 10_000), (8192, 5824), (1024, 277), (256, 53), (64, 1), (0, 1)],
)
def test_connections_are_lowered_to_what_fits(descriptors: int, connections: int):
    settings = parse_settings(CONFIG, Path("c.yaml"), {}).settings
    assert fitting_connections(settings, descriptors) == connections
