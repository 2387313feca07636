"""Simulated users."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..prompts import Box, Point

_SHALLOWEST = 1.42  # pixels; an error that is not deeper is not worth a click


@dataclass(frozen=True)
class CorrectiveClick:
    """A click on a slice of the stack."""

    slice: int
    point: Point


def next_click(truth: np.ndarray, predicted: np.ndarray) -> Point | None:
    """The click that Shen et al. 2024 simulate: the pixel deepest inside the deepest error.

    The false-negative and the false-positive region fall into parts connected by edges. The depth
    of a pixel is its Euclidean distance to the nearest pixel outside its part; beyond the slice is
    outside. Of equally deep pixels the part that begins first in reading order wins, and in it the
    first pixel. The negative click wins only when strictly deeper. (Their published code:
    notebooks/video_predictor_example_with_click.ipynb.)

    Args:
        truth, predicted: (H, W) bool.

    Returns:
        the click, or None where no error is more than 1.42 pixels deep.
    """
    missed, spurious = _deepest(truth & ~predicted), _deepest(predicted & ~truth)
    positive = missed[0] >= spurious[0]
    _, place = missed if positive else spurious
    return None if place is None else Point(*map(float, place), bool(positive))


def worst_error_click(
    truth: np.ndarray, predicted: np.ndarray, spacing: tuple[float, float, float]
) -> CorrectiveClick | None:
    """The click at the deepest point of the worst error in 3D.

    Depth is the Euclidean distance in millimetres to the nearest voxel that is not of the error
    region (missed or spurious); beyond the volume is outside. The negative click wins only when
    strictly deeper; of equally deep voxels the first in (slice, row, column) order.

    Args:
        truth, predicted: (slice, row, column) bool.
        spacing: millimetres along those axes.

    Returns:
        the click, or None where the masks are equal.
    """
    found = []
    for region in (truth & ~predicted, predicted & ~truth):
        depth, place = 0.0, None
        if region.any():
            distance, box = _depth_3d(region, spacing)
            inside = np.unravel_index(np.argmax(distance), distance.shape)
            depth = float(distance[inside])
            place = [int(n) + part.start for n, part in zip(inside, box, strict=True)]
        found.append((depth, place))
    positive = found[0][0] >= found[1][0]
    place = found[0 if positive else 1][1]
    if place is None:
        return None
    return CorrectiveClick(place[0], Point(float(place[1]), float(place[2]), positive))


def deepest_pixel(region: np.ndarray) -> Point:
    """A positive click at the deepest pixel of a (H, W) bool region, however thin it is."""
    depth = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
    row, col = np.unravel_index(np.argmax(depth), depth.shape)
    return Point(float(row), float(col))


def tight_box(mask: np.ndarray) -> Box:
    """The box of a mask's pixels."""
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return Box(rows[0] - 0.5, cols[0] - 0.5, rows[-1] + 0.5, cols[-1] + 0.5)


def _deepest(region: np.ndarray) -> tuple[float, tuple[int, int] | None]:
    """Depth and place of the deepest pixel of all connected parts; no place if all are shallow."""
    parts, _ = ndimage.label(region)
    best, place = _SHALLOWEST, None
    for number, box in enumerate(ndimage.find_objects(parts), start=1):
        part = parts[box] == number
        if (min(part.shape) + 1) / 2 <= best:
            continue  # too thin to be deeper
        depth = ndimage.distance_transform_edt(np.pad(part, 1))[1:-1, 1:-1]
        if depth.max() > best:
            row, col = np.unravel_index(np.argmax(depth), depth.shape)
            best, place = float(depth.max()), (int(row) + box[0].start, int(col) + box[1].start)
    return best, place


def _depth_3d(
    region: np.ndarray, spacing: tuple[float, float, float]
) -> tuple[np.ndarray, tuple[slice, ...]]:
    box = ndimage.find_objects(region.astype(np.uint8))[0]
    padded = np.pad(region[box], 1)
    return ndimage.distance_transform_edt(padded, sampling=spacing)[1:-1, 1:-1, 1:-1], box
