"""One slice of the montage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from ..colours import Colour
from ..geometry import Plane
from ..prompts import Prompts, SlicePrompt
from ..volume import SliceStack
from .style import DIM, NEGATIVE, POSITIVE, PROMPT, font, to_rgb, write

_SUPERSAMPLING = 3

# What lies at the left edge and at the top edge, and the axis that the slices run along.
_LETTERS = {Plane.AXIAL: "RAS", Plane.CORONAL: "RSA", Plane.SAGITTAL: "ASR"}


@dataclass(frozen=True)
class Crop:
    """The part of a slice that is shown, and the size it is shown at."""

    rows: slice
    cols: slice
    width: int
    height: int

    def to_tile(self, row: float, col: float) -> tuple[float, float]:
        """Pixel centre (row, column) of the slice to x and y in the tile."""
        x = (col + 0.5 - self.cols.start) * self.width / (self.cols.stop - self.cols.start)
        y = (row + 0.5 - self.rows.start) * self.height / (self.rows.stop - self.rows.start)
        return x, y


def draw_tile(
    stack: SliceStack,
    index: int,
    crop: Crop,
    masks: Mapping[int, np.ndarray],
    prompts: Prompts,
    colours: Mapping[int, Colour],
) -> Image.Image:
    """One slice with contours, prompts and captions."""
    size = crop.width, crop.height
    grey = Image.fromarray(np.ascontiguousarray(stack.frame(index)[crop.rows, crop.cols]))
    tile = grey.resize(size, Image.Resampling.BICUBIC).convert("RGBA")
    overlay = Image.new("RGBA", [n * _SUPERSAMPLING for n in size])
    shown = {o: mask[index][crop.rows, crop.cols] for o, mask in masks.items()}
    shown = {o: _enlarged(mask, overlay.size) for o, mask in shown.items() if mask.any()}
    for object_id, large in shown.items():
        overlay.paste((*to_rgb(colours[object_id]), 32), mask=large)
    # Lines last: no object's area hides the contour of another one.
    for object_id, large in shown.items():
        _draw_contour(overlay, large, colours[object_id])
    given = [slices[index] for slices in prompts.by_object.values() if index in slices]
    for prompt in given:
        _draw_prompt(overlay, prompt, crop)
    tile.alpha_composite(overlay.resize(size, Image.Resampling.BOX))
    tile = tile.convert("RGB")
    _caption(tile, stack, index, given)
    return tile


def _enlarged(mask: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """A mask at the overlay's size with smooth borders, 0 or 255."""
    large = Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).resize(
        size, Image.Resampling.BILINEAR
    )
    return large.point(lambda value: 255 if value > 127 else 0)


def _draw_contour(overlay: Image.Image, large: Image.Image, colour: Colour) -> None:
    inner, outer = large.filter(ImageFilter.MinFilter(5)), large.filter(ImageFilter.MaxFilter(3))
    line = Image.fromarray(np.asarray(outer) - np.asarray(inner))
    overlay.paste((*to_rgb(colour), 255), mask=line)


def _draw_prompt(overlay: Image.Image, prompt: SlicePrompt, crop: Crop) -> None:
    draw = ImageDraw.Draw(overlay)
    n = _SUPERSAMPLING
    if prompt.box is not None:
        box = prompt.box
        left, top = crop.to_tile(box.row0, box.col0)
        right, bottom = crop.to_tile(box.row1, box.col1)
        draw.rectangle([left * n, top * n, right * n, bottom * n], outline=PROMPT, width=4)
    for point in prompt.points:
        x, y = crop.to_tile(point.row, point.col)
        fill = POSITIVE if point.positive else NEGATIVE
        draw.circle((x * n, y * n), 5 * n, fill=fill, outline=(0, 0, 0), width=n)


def _caption(tile: Image.Image, stack: SliceStack, index: int, given: list[SlicePrompt]) -> None:
    """Slice number and place, orientation letters, and the frame of a prompted slice."""
    draw = ImageDraw.Draw(tile)
    width, height = tile.size
    geometry = stack.geometry
    left, top, normal = _LETTERS[geometry.plane]
    middle = np.array([index, (stack.shape[1] - 1) / 2, (stack.shape[2] - 1) / 2])
    ijk = geometry.ijk_from_stack(middle)
    place = geometry.grid.ras_from_ijk(ijk)["RAS".index(normal)]
    number = f"{'IJK'[geometry.axis]} {ijk[geometry.axis]:.0f}"
    write(draw, (7, 5), number, 15)
    write(draw, (7, height - 22), f"{normal} {place:.1f} mm", 12, DIM)
    if height > 120:
        write(draw, (7, height / 2 - 9), left, 14, DIM)
        write(draw, (width / 2 - 5, 5), top, 14, DIM)
    if given:
        draw.rectangle([0, 0, width - 1, height - 1], outline=PROMPT, width=2)
        kinds = {kind: None for prompt in given for kind in _kinds(prompt)}
        text = " + ".join(kinds)
        write(draw, (width - 9 - font(13).getlength(text), 6), text, 13, PROMPT)


def _kinds(prompt: SlicePrompt) -> list[str]:
    kinds = ["mask"] if prompt.mask is not None else []
    if prompt.box is not None:
        kinds.append("box")
    if prompt.points:
        kinds.append("points" if len(prompt.points) > 1 else "point")
    return kinds
