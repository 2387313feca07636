"""Sizes, colours and type of the pictures."""

from __future__ import annotations

from PIL import ImageDraw, ImageFont

from ..colours import Colour

Rgb = tuple[int, int, int]

BACKGROUND, TEXT, DIM = (18, 18, 20), (235, 235, 235), (165, 165, 170)
PROMPT, POSITIVE, NEGATIVE = (255, 214, 64), (70, 230, 110), (255, 80, 70)


def to_rgb(colour: Colour) -> Rgb:
    """(red, green, blue) of 0..1 as 0..255."""
    return tuple(round(255 * part) for part in colour)


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, the same on every machine."""
    return ImageFont.load_default(size)


def write(
    draw: ImageDraw.ImageDraw,
    place: tuple[float, float],
    text: str,
    size: int,
    fill: Rgb = TEXT,
) -> None:
    """Text with a dark rim, readable on any grey."""
    draw.text(place, text, fill=fill, font=font(size), stroke_width=2, stroke_fill=(0, 0, 0))
