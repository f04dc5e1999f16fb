"""Writes the dashboards: `python -m deploy.grafana.build` (`pip install '.[dashboards]'` first)."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana import cloudfront, comparison, dynamodb, image_service, rollout
from deploy.grafana.panels import Grid

DIRECTORY: Final = Path(__file__).parent / "dashboards"
DASHBOARDS: Final[dict[str, Callable[[], Grid]]] = {
    "comparison.json": comparison.build,
    "image-service.json": image_service.build,
    "dynamodb.json": dynamodb.build,
    "cloudfront.json": cloudfront.build,
    "rollout.json": rollout.build,
}


def render(name: str) -> str:
    """The JSON of one dashboard."""
    return JSONEncoder(sort_keys=True, indent=2).encode(DASHBOARDS[name]().builder.build()) + "\n"


def main() -> None:
    """Write all of them."""
    for name in DASHBOARDS:
        (DIRECTORY / name).write_text(render(name))


if __name__ == "__main__":
    main()
