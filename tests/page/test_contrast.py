"""The palette: every pair of colours that is used together can be told apart (WCAG 2.2, 1.4.3 and 1.4.11)."""

import re
from pathlib import Path

import pytest

SHEET = (Path(__file__).resolve().parents[2] / "proxy" / "admin" / "static" / "page.css").read_text()
TEXT, SHAPES = 4.5, 3.0
PANELS = ("panel", "ground", "sunk")
PAIRS = [
    *((text, panel, TEXT) for text in ("text", "muted") for panel in PANELS),
    *((tone, "panel", TEXT) for tone in ("good", "warn", "bad", "legacy", "target", "accent")),
    *((tone, "ground", TEXT) for tone in ("bad", "accent")),
    ("text", "bad-soft", TEXT),
    ("bad", "bad-soft", TEXT),
    ("text", "warn-soft", TEXT),
    ("warn", "warn-soft", TEXT),
    ("on-accent", "accent", TEXT),
    ("on-bad", "bad", TEXT),
    *((line, "sunk", SHAPES) for line in ("legacy", "target", "control", "muted")),
    ("target", "target-soft", SHAPES),
    ("control", "panel", SHAPES),
    ("good", "ground", SHAPES),
]


def palettes() -> dict[str, dict[str, str]]:
    light, dark = re.findall(r":root \{(.*?)\}", SHEET, re.DOTALL)
    read = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block)) for block in (light, dark)]
    return {"light": read[0], "dark": read[1]}


def luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_the_formula_gives_the_known_answers():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("one", "other", "least"), PAIRS)
def test_each_pair_has_contrast(scheme, one, other, least):
    palette = palettes()[scheme]
    assert contrast(palette[one], palette[other]) >= least


def test_both_schemes_have_the_same_colours_and_no_rule_has_one_of_its_own():
    light, dark = palettes().values()
    assert set(light) == set(dark)
    used = set(re.findall(r"var\(--([\w-]+)\)", SHEET))
    assert used == set(light)
    rules = re.sub(r":root \{.*?\}", "", SHEET, flags=re.DOTALL)
    assert not re.findall(r":[^{};]*#[0-9a-fA-F]{3,8}[^{};]*;", rules)
