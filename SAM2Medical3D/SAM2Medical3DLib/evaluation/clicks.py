"""Simulated users."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..prompts import Box, Point

_SHALLOWEST = 1.42  # pixels; a shallower error is not worth a click


def next_click(truth: np.ndarray, predicted: np.ndarray) -> Point | None:
    """The click that Shen et al. 2024 simulate: the pixel deepest inside the deepest error.

    Depth is the Euclidean distance to the border of the false-negative or false-positive region;
    the negative click wins only when its region is strictly deeper.

    Args:
        truth, predicted: (H, W) bool.

    Returns:
        the click, or None where no error is at least 1.42 pixels deep.
    """
    missed, spurious = _depth(truth & ~predicted), _depth(predicted & ~truth)
    positive = missed.max() >= spurious.max()
    depth = missed if positive else spurious
    if depth.max() < _SHALLOWEST:
        return None
    row, col = np.unravel_index(np.argmax(depth), depth.shape)
    return Point(float(row), float(col), bool(positive))


def tight_box(mask: np.ndarray) -> Box:
    """The box of a mask's pixels."""
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return Box(rows[0] - 0.5, cols[0] - 0.5, rows[-1] + 0.5, cols[-1] + 0.5)


def _depth(region: np.ndarray) -> np.ndarray:
    # Padding makes the slice's own edge a border too.
    return ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
