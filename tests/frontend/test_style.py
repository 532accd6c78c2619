"""The colours of the style sheet can be read by everybody, in light and in dark."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import mm_frontend

CSS = (Path(mm_frontend.__path__[0]) / "static" / "style.css").read_text()
CSS_BELOW = Path(mm_frontend.__path__[0]) / "static" / "bootstrap.css"
TEXT = [
    ("ink", "paper"),
    ("ink", "surface"),
    ("ink", "tint"),
    ("dim", "paper"),
    ("dim", "surface"),
    ("dim", "soft"),
    ("accent", "paper"),
    ("accent", "surface"),
    ("accent", "tint"),
    ("accent-hover", "paper"),
    ("accent-hover", "surface"),
    ("accent-hover", "tint"),
    ("accent-ink", "accent"),
    ("accent-ink", "accent-hover"),
    ("part", "surface"),
    ("bad", "surface"),
    ("bad", "bad-tint"),
    ("paper", "dim"),
]
CONTROLS = [("edge", "paper"), ("edge", "surface"), ("accent", "paper"), ("bad", "surface")]


def palette(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block))


LIGHT = palette(CSS.split("@media (prefers-color-scheme: dark)")[0])
DARK = LIGHT | palette(CSS.split("@media (prefers-color-scheme: dark)")[1].split("}")[0])


def luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("front", "back"), TEXT)
def test_text_has_a_contrast_of_4_5_to_1(scheme: dict[str, str], front: str, back: str) -> None:
    assert contrast(scheme[front], scheme[back]) >= 4.5


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("front", "back"), CONTROLS)
def test_borders_of_controls_have_a_contrast_of_3_to_1(scheme: dict[str, str], front: str, back: str) -> None:
    assert contrast(scheme[front], scheme[back]) >= 3


def test_bootstrap_loads_nothing_from_elsewhere_and_lies_below_our_rules() -> None:
    text = CSS_BELOW.read_text()
    assert set(re.findall(r"url\(.{6}", text)) == {'url("data:'}
    assert text.partition("*/\n@layer bootstrap{")[2]


def test_the_style_sheet_loads_nothing_from_elsewhere() -> None:
    assert "url(" not in CSS
    assert "@import" not in CSS
