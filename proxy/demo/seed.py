"""The gallery's content: the same users and images for the same seed, with the shapes that break migrations.

Among them: titles in several scripts, combining marks and right-to-left text, no tags, null fields, descriptions of
several KiB, images of one user with the same creation time, a user without any image, and one with over 100.
"""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from proxy.demo.model import Image, to_whole_ms

EMPTY_USER: Final = "user-001"
BUSY_USER: Final = "user-002"
BUSY_USER_IMAGES: Final = 130
_OTHER_SCRIPTS: Final = ("zoë", "レゴ花子", "user 300 (école)")  # ids whose hash depends on UTF-8

_THEMES: Final = (
    "Castle",
    "Space",
    "Pirates",
    "City",
    "Technic",
    "Trains",
    "Creator",
    "Modular",
    "Botanical",
)
_SUBJECTS: Final = (
    "Lighthouse on a Rocky Shore",
    "Night Market with Lanterns",
    "Six-Wheeled Rover",
    "Harbour Crane",
    "Corner Bakery",
    "Steam Engine No. 47",
    "Observatory with Turning Dome",
    "Dragon Gate",
    "Alpine Cable Car",
    "Tide-Pool Diorama",
    "Minifigure Orchestra",
    "Clock Tower at 1:90",
    "Sunken Galleon",
    "Greenhouse in Winter",
)
_REMARKS: Final = (
    "",
    " (MOC)",
    " - work in progress",
    ", rear view",
    " with lights",
    " ½ scale",
    " 🧱",
    " 🚂💨",
)
_UNICODE_TITLES: Final = (
    "大阪城 1:300 のミニチュア",
    "กังหันลมสีแดง",
    "قلعة على التل",
    "מגדלור קטן ליד הים",
    "Cafe\u0301 au coin de la rue",  # a combining accent: must not be normalised on the way
    "Żuraw portowy w Gdańsku",
    "👩🏽\u200d🚀 Lunar Greenhouse 🌱",
    "Ελληνικό νησί με ανεμόμυλο",
    'Quote " and \\ backslash & <b>tag</b>',
)
_TAGS: Final = (
    "moc",
    "castle",
    "space",
    "train",
    "minifig",
    "night",
    "snot",
    "city",
    "wip",
    "日本",
    "été",
    "1x1",
)
_SENTENCES: Final = (
    "The base is four plates deep so that the pipes fit under the street.",
    "I had to rebuild the roof twice before the hinges carried it.",
    "Most of the tan slopes come from one old set that lost its box years ago.",
    "The light is a single warm diode behind two trans-yellow panels.",
    "My daughter chose the colour of the door, and she was right.",
    "Every window opens, which nobody will ever check.",
    "The wheels turn; the crank under the bridge drives all of them.",
    "Photographed on the kitchen table… mind the crumbs 🍞.",
    "Next time: fewer jumpers, more patience.\n",
)
_NEWEST: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
_SPAN_S: Final = 2 * 365 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Seed:
    """Users in order, and their images in no particular order."""

    users: tuple[str, ...]
    images: tuple[Image, ...]


def make_seed(user_count: int = 300, image_count: int = 2000, seed: int = 5) -> Seed:
    """Return the content for a seed; at least 10 users and 200 images."""
    if user_count < 10 or image_count < 200:
        raise ValueError("the gallery needs at least 10 users and 200 images")
    rng = random.Random(seed)
    plain = tuple(f"user-{number:03d}" for number in range(1, user_count + 1 - len(_OTHER_SCRIPTS)))
    users = plain + _OTHER_SCRIPTS
    others = [user for user in users if user not in {EMPTY_USER, BUSY_USER}]
    # Everybody else has at least one image, the rest are spread unevenly.
    owners = [BUSY_USER] * BUSY_USER_IMAGES + others[: image_count - BUSY_USER_IMAGES]
    owners += rng.choices(others, k=image_count - len(owners))
    return Seed(users, tuple(_image(rng, number, owner) for number, owner in enumerate(owners)))


def make_title(rng: random.Random) -> str:
    """Return a title such as people give their builds."""
    if rng.random() < 0.12:
        return rng.choice(_UNICODE_TITLES)
    return f"{rng.choice(_THEMES)}: {rng.choice(_SUBJECTS)}{rng.choice(_REMARKS)}"


def make_description(rng: random.Random) -> str:
    """Return nothing, a few sentences, or now and then several KiB."""
    count = rng.choice((0, 1, 2, 3, 3, 4)) if rng.random() > 0.02 else rng.randint(60, 160)
    return " ".join(rng.choices(_SENTENCES, k=count)).strip()


def _image(rng: random.Random, number: int, owner: str) -> Image:
    image_id = f"img-{number:05d}-{rng.getrandbits(32):08x}"
    # Every eighth was imported in bulk, at one and the same time: only the id then orders them in a list.
    age_s = 3600 * 24 * 30 if number % 8 == 0 else rng.uniform(0, _SPAN_S)
    created = to_whole_ms(_NEWEST - timedelta(seconds=age_s))
    edited_s = rng.choice((0.0, 0.0, rng.uniform(1, 86_400)))
    width, height = rng.choice(((4032, 3024), (1920, 1080), (1080, 1350), (800, 600), (1, 1)))
    url = f"https://images.example.com/{image_id}"
    return Image(
        id=image_id,
        user_id=owner,
        title=make_title(rng),
        description=make_description(rng),
        url=f"{url}/original.jpg",
        thumbnail_url=f"{url}/thumb.webp" if rng.random() < 0.9 else None,
        tags=tuple(rng.sample(_TAGS, k=rng.choice((0, 0, 1, 2, 3, 5)))),
        album_id=f"album-{rng.randint(1, 400)}" if rng.random() < 0.6 else None,
        width=width,
        height=height,
        size_bytes=rng.choice((0, rng.randint(10_000, 9_000_000), 2**40 + number)),
        created_at=created,
        updated_at=to_whole_ms(created + timedelta(seconds=edited_s)),
    )
