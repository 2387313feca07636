"""The body that a scene lies in: its outline, and a wall of skin, fat and muscle."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas
from .shapes import Region, Shape, nodes, smooth_noise, upsample

Rng = np.random.Generator


def outline(rng: Rng, shape: Shape, fraction: float, power: float) -> tuple[Region, np.ndarray]:
    """A body running through the volume along Z, as a level set on the whole volume.

    `fraction` is the share of the field of view it spans. Returns it with its centre (3,).
    """
    stride = 4
    grid = [nodes(n, stride) for n in shape]
    z, y, x = (stride * np.arange(n, dtype=np.float32) for n in grid)
    radii = 0.5 * np.array(shape[1:]) * fraction * np.exp(rng.normal(0, 0.1, 2))
    centre = 0.5 * np.array(shape) * (1 + rng.normal(0, 0.04, 3))
    slope, swell = rng.normal(0, 0.12, 2), rng.normal(0, 0.12)
    along = ((z - centre[0]) / shape[0])[:, None, None]
    ry, rx = (r * (1 + swell * along) for r in radii)
    dy = (y[:, None] - centre[1] - slope[0] * shape[0] * along) / ry
    dx = (x - centre[2] - slope[1] * shape[0] * along) / rx
    norm = (np.abs(dy) ** power + np.abs(dx) ** power) ** (1 / power)
    phi = (1 - norm) * float(radii.mean()) + 0.03 * radii.mean() * smooth_noise(rng, grid, 5)
    whole = (slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2]))
    return Region(whole, upsample(phi.astype(np.float32), stride, shape)), centre


def wall(canvas: Canvas, rng: Rng, body: Region, unit: float) -> None:
    """Skin, fat and muscle layers of uneven thickness; leaves the cavity within them."""
    grid = [nodes(n, 8) for n in canvas.shape]
    uneven = Region(
        body.box, body.phi + 0.03 * unit * upsample(smooth_noise(rng, grid, 2), 8, canvas.shape)
    )
    fat = rng.uniform(0.02, 0.14) * unit
    muscle = fat + rng.uniform(0.05, 0.16) * unit
    canvas.paint(body, "skin", anywhere=True)
    canvas.paint(body, "fat", anywhere=True, offset=rng.uniform(0.6, 1.5))
    canvas.paint(uneven, "muscle", anywhere=True, offset=fat)
    # Seams of fat between the muscle layers.
    seams = Region(body.box, 0.6 - np.abs(uneven.phi - 0.5 * (fat + muscle)))
    if rng.random() < 0.6:
        canvas.paint(seams, "fat", anywhere=True)
    canvas.paint(uneven, "fat", anywhere=True, offset=muscle)
    canvas.body = body.phi > 2
    canvas.cavity = uneven.phi > muscle - 0.5
