"""The montage: chosen slices, true proportions, prompts and contours drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from grids import make_grid
from SAM2Medical3DLib.colours import default_colours
from SAM2Medical3DLib.preview import choose_slices, save_preview
from SAM2Medical3DLib.prompts import Box, Point, Prompts, SlicePrompt
from SAM2Medical3DLib.volume import SliceStack, Volume

CLICK = SlicePrompt(points=(Point(14, 12), Point(2, 2, False)), box=Box(6, 5, 22, 19))


def test_prompted_and_outermost_slices_are_shown() -> None:
    mask = np.zeros((100, 4, 4), bool)
    mask[20:80, 1, 1] = True
    chosen = choose_slices({1: mask}, Prompts.single(57, CLICK), 100)
    assert len(chosen) == 12
    assert {20, 57, 79} <= set(chosen)
    assert np.diff(chosen).max() <= 12


def test_prompts_alone_and_thin_objects() -> None:
    empty = np.zeros((5, 4, 4), bool)
    assert choose_slices({1: empty}, Prompts.single(3, CLICK), 5) == [3]
    many = Prompts({1: dict.fromkeys(range(40), CLICK)})
    assert len(choose_slices({1: np.zeros((40, 4, 4), bool)}, many, 40)) == 12


def test_picture(tmp_path: Path, tiny_volume: Volume, tiny_labels: np.ndarray) -> None:
    stack = SliceStack(tiny_volume)
    masks = {label: stack.geometry.to_stack(tiny_labels == label) for label in (1, 2)}
    colours = default_colours(masks)
    path = save_preview(
        tmp_path / "p.png", stack, masks, Prompts.single(7, CLICK), {1: "one", 2: "two"}, colours
    )
    picture = np.asarray(Image.open(path)).astype(int)
    for colour in (*colours.values(), (255 / 255, 214 / 255, 64 / 255)):
        distance = np.abs(picture - np.round(np.array(colour) * 255)).sum(-1)
        assert (distance < 12).sum() > 50


def test_pixels_keep_their_proportions(tmp_path: Path) -> None:
    # 20 rows of 4 mm and 80 columns of 1 mm are a square.
    array = np.arange(3 * 20 * 80).reshape(3, 20, 80)
    volume = Volume(array, make_grid(array.shape, spacing=(1.0, 4.0, 5.0)), "square")
    mask = np.ones(array.shape, bool)
    stack = SliceStack(volume, "axial")
    save_preview(
        tmp_path / "p.png", stack, {1: mask}, Prompts.single(1, CLICK), {1: "a"}, {1: (1, 0, 0)}
    )
    picture = np.asarray(Image.open(tmp_path / "p.png")).astype(int)
    frame = (np.abs(picture - (255, 214, 64)).sum(-1) < 12)[:-30]
    rows, cols = np.flatnonzero(frame.any(1)), np.flatnonzero(frame.any(0))
    assert rows[-1] - rows[0] == cols[-1] - cols[0]
