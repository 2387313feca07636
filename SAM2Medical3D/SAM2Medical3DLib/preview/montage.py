"""The montage: which slices, which part of them, and how they are laid out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ..colours import Colour
from ..files.atomic import replacing
from ..prompts import Prompts, SlicePrompt
from ..volume import SliceStack
from .style import BACKGROUND, DIM, NEGATIVE, POSITIVE, PROMPT, font, to_rgb, write
from .tile import Crop, draw_tile

_TILE = 320  # longer side of a slice, in pixels of the picture
_GAP = 6
_BAR = 30  # height of the title and of a legend line
_MARGIN_MM = 20.0  # shown around the object, at least


def save_preview(
    path: Path | str,
    stack: SliceStack,
    masks: Mapping[int, np.ndarray],
    prompts: Prompts,
    names: Mapping[int, str],
    colours: Mapping[int, Colour],
    count: int = 12,
) -> Path:
    """Write a PNG montage of slices through the objects.

    Slices are shown in radiological orientation with true proportions, cropped to the objects with
    a margin; prompted slices have a yellow frame.

    Args:
        path: the PNG file.
        stack: the slices.
        masks: {object id: (slice, row, column) bool}.
        prompts: what the user gave.
        names, colours: by object id; colours are (red, green, blue), 0..1.
        count: about how many slices to show.

    Returns:
        The path.

    Raises:
        UserError: if the file cannot be written.
    """
    chosen = choose_slices(masks, prompts, len(stack), count)
    crop = _crop(stack, masks, prompts)
    tiles = [draw_tile(stack, index, crop, masks, prompts, colours) for index in chosen]
    columns = _columns(len(tiles), crop)
    lines = -(-len(tiles) // columns)
    width = max(columns * (crop.width + _GAP) + _GAP, 640)
    rows_height = lines * (crop.height + _GAP)
    legend = _legend(stack, masks, prompts, names, colours, width)
    picture = Image.new("RGB", (width, _BAR + rows_height + legend.height), BACKGROUND)
    _title(picture, stack)
    left = (width - columns * (crop.width + _GAP) + _GAP) // 2
    for place, tile in enumerate(tiles):
        x = left + place % columns * (crop.width + _GAP)
        picture.paste(tile, (x, _BAR + place // columns * (crop.height + _GAP)))
    picture.paste(legend, (0, _BAR + rows_height))
    with replacing(path) as temporary:
        picture.save(temporary, format="PNG")
    return Path(path)


def choose_slices(
    masks: Mapping[int, np.ndarray], prompts: Prompts, n_slices: int, count: int = 12
) -> list[int]:
    """About ``count`` ascending slices: the prompted ones, the rest spread over the objects."""
    used = np.zeros(n_slices, bool)
    for mask in masks.values():
        used |= mask.any(axis=(1, 2))
    prompted = list(prompts.slices)
    if len(prompted) > count // 2:
        keep = np.linspace(0, len(prompted) - 1, count // 2).round().astype(int)
        prompted = [prompted[i] for i in keep]
    used[prompted] = True
    extent = np.flatnonzero(used)
    if not extent.size:
        return np.unique(np.linspace(0, n_slices - 1, count).round().astype(int)).tolist()
    chosen = set(prompted)
    spread = np.linspace(extent[0], extent[-1], count).round().astype(int).tolist()
    # Slices right beside a prompted one would show nothing new: leave those out first.
    spread.sort(key=lambda index: -min((abs(index - p) for p in prompted), default=n_slices))
    for index in spread:
        if len(chosen) < count:
            chosen.add(index)
    return sorted(chosen)


def _crop(stack: SliceStack, masks: Mapping[int, np.ndarray], prompts: Prompts) -> Crop:
    """The objects' and prompts' common rectangle with a margin, as one size of tile."""
    _, height, width = stack.shape
    _, row_mm, col_mm = stack.geometry.spacing
    shown = np.zeros((height, width), bool)
    for mask in masks.values():
        shown |= mask.any(axis=0)
    for prompt in (p for slices in prompts.by_object.values() for p in slices.values()):
        for row, col in _corners(prompt):
            shown[int(np.clip(row, 0, height - 1)), int(np.clip(col, 0, width - 1))] = True
    if not shown.any():
        shown[:] = True
    ranges = []
    for used, size, mm in ((shown.any(1), height, row_mm), (shown.any(0), width, col_mm)):
        found = np.flatnonzero(used)
        margin = max(_MARGIN_MM / mm, 0.4 * (found[-1] - found[0] + 1))
        ranges.append(slice(max(0, int(found[0] - margin)), min(size, int(found[-1] + margin) + 2)))
    rows, cols = ranges
    size_mm = (rows.stop - rows.start) * row_mm, (cols.stop - cols.start) * col_mm
    # Flat slices are shown larger, to leave room for the captions.
    scale = max(_TILE / max(size_mm), min(72 / min(size_mm), 2 * _TILE / max(size_mm)))
    tile_height, tile_width = (max(1, round(mm * scale)) for mm in size_mm)
    return Crop(rows, cols, tile_width, tile_height)


def _corners(prompt: SlicePrompt) -> list[tuple[float, float]]:
    corners = [(point.row, point.col) for point in prompt.points]
    if prompt.box is not None:
        box = prompt.box
        corners += [(box.row0, box.col0), (box.row1, box.col1)]
    return corners


def _columns(n_tiles: int, crop: Crop) -> int:
    """As many columns as make the montage about 3:2."""

    def unlikeness(columns: int) -> float:
        lines = -(-n_tiles // columns)
        empty = columns * lines - n_tiles
        return abs(np.log(columns * crop.width / (lines * crop.height) / 1.5)) + 0.1 * empty

    return min(range(1, n_tiles + 1), key=unlikeness)


def _title(picture: Image.Image, stack: SliceStack) -> None:
    draw = ImageDraw.Draw(picture)
    spacing = " x ".join(f"{mm:.3g}" for mm in stack.volume.grid.spacing)
    mapping = stack.mapping
    shown = (
        "each slice's own range" if mapping.per_slice else f"{mapping.low:g} to {mapping.high:g}"
    )
    write(draw, (_GAP + 4, 6), stack.volume.name, 15)
    start = _GAP + 16 + font(15).getlength(stack.volume.name)
    text = f"{stack.plane.value}, {len(stack)} slices, voxels {spacing} mm, shown: {shown}"
    write(draw, (start, 8), text, 12, DIM)


def _legend(
    stack: SliceStack,
    masks: Mapping[int, np.ndarray],
    prompts: Prompts,
    names: Mapping[int, str],
    colours: Mapping[int, Colour],
    width: int,
) -> Image.Image:
    """Colours, names and volumes of the objects, and the meaning of the marks."""
    voxel_ml = abs(np.linalg.det(stack.volume.grid.ijk_to_ras[:3, :3])) / 1000
    entries = [
        (to_rgb(colours[i]), f"{names[i]}  {np.count_nonzero(mask) * voxel_ml:.4g} mL")
        for i, mask in masks.items()
    ]
    entries.append((PROMPT, "prompted slice"))
    given = [p for slices in prompts.by_object.values() for p in slices.values()]
    if any(prompt.points for prompt in given):
        entries += [(POSITIVE, "point inside"), (NEGATIVE, "point outside")]
    places, x, y = [], _GAP + 4, 0
    for _, text in entries:
        length = 24 + int(font(13).getlength(text)) + 22
        if x > _GAP + 4 and x + length > width:
            x, y = _GAP + 4, y + _BAR
        places.append((x, y))
        x += length
    legend = Image.new("RGB", (width, y + _BAR), BACKGROUND)
    draw = ImageDraw.Draw(legend)
    for (colour, text), (left, top) in zip(entries, places, strict=True):
        draw.rounded_rectangle([left, top + 8, left + 15, top + 22], 3, fill=colour)
        write(draw, (left + 23, top + 6), text, 13)
    return legend
