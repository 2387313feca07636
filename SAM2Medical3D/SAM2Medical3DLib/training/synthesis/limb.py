"""Packed soft tissue: a limb, a neck or a cropped view."""

from __future__ import annotations

import numpy as np

from . import parts
from .body import outline, wall
from .bones import long_bone
from .canvas import Canvas
from .shapes import cells

Rng = np.random.Generator


def limb(canvas: Canvas, rng: Rng) -> None:
    """A limb, a neck or a cropped view: bones and vessels among packed muscles and organs."""
    shape = np.array(canvas.shape)
    fraction = rng.choice([rng.uniform(0.6, 0.95), rng.uniform(1.5, 2.5)])
    body, centre = outline(rng, canvas.shape, fraction, 2.0)
    unit = 0.5 * min(fraction, 1.2) * min(shape[1:])
    wall(canvas, rng, body, 0.6 * unit)
    slope = rng.normal(0, 0.15, 2) * shape[0]
    count = int(rng.integers(6, 20))
    spread = [rng.uniform(-0.2, 1.2, count) * shape[0], *rng.uniform(-1, 1, (2, count)) * unit]
    seeds = np.stack(spread, axis=1) + np.array([0, centre[1], centre[2]])
    weights = rng.uniform(0, 0.2, count) * unit
    warp, along = rng.uniform(0.02, 0.1) * unit, rng.uniform(0.1, 0.8)
    kind = str(rng.choice(["muscle", "organ"]))
    for region in cells(rng, canvas.shape, seeds, weights, warp, along):
        if rng.random() < 0.75:
            gap = 0.0 if rng.random() < 0.3 else rng.uniform(0.3, 2.5)
            canvas.paint(region, kind, label=canvas.new_label(), offset=gap)
    for _ in range(rng.integers(0, 6)):
        at3 = np.array([rng.uniform(0, shape[0]), *(centre[1:] + rng.uniform(-0.8, 0.8, 2) * unit)])
        parts.organ(canvas, rng, at3, rng.uniform(0.2, 0.9) * unit)
    for _ in range(rng.integers(1, 4)):
        at = centre[1:] + rng.uniform(-0.5, 0.5, 2) * unit
        low, high = np.array([-8, *(at - slope)]), np.array([shape[0] + 8, *(at + slope)])
        long_bone(canvas, rng, low, high, rng.uniform(0.08, 0.25) * unit)
    for _ in range(rng.integers(3, 8)):
        at = centre[1:] + rng.uniform(-0.7, 0.7, 2) * unit
        low, high = np.array([-8, *(at - slope)]), np.array([shape[0] + 8, *(at + slope)])
        parts.vessel(canvas, rng, low, high, rng.uniform(0.03, 0.1) * unit, named=True)
    for _ in range(rng.integers(2, 6)):
        at3 = rng.uniform(0, 1, 3) * shape
        parts.organ(canvas, rng, at3, rng.uniform(0.1, 0.35) * unit)
