"""Bodies for the demo phantom: sections stacked along Z, and tubes along curves, in millimetres.

Coordinates: x to the patient's left, y to the back, z to the head, the origin at the centre of the
volume. Arrays are (K, J, I), so z, y, x. A field is positive inside a body, about the distance to
its surface in millimetres.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline, PchipInterpolator
from scipy.ndimage import gaussian_filter, zoom

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Body:
    """A field, float32 of the box's shape (K, J, I) in millimetres, on a box of the volume."""

    box: Box
    field: np.ndarray


class Space:
    """The voxel grid of the phantom and the coordinates of its voxels.

    `size` (I, J, K) voxels of `spacing` (x, y, z) mm. Coordinates are warped smoothly by up to
    about `warp` mm, so that no section is a perfect ellipse and neighbours still fit.
    """

    def __init__(
        self,
        size: tuple[int, int, int],
        spacing: tuple[float, float, float],
        warp: float,
        rng: np.random.Generator,
    ) -> None:
        self.shape = (size[2], size[1], size[0])
        self.step = np.array(spacing[::-1])
        self.axes = [
            ((np.arange(n) - (n - 1) / 2) * s).astype(np.float32)
            for n, s in zip(self.shape, self.step, strict=True)
        ]
        self.z = self.axes[0][:, None, None]
        self.y = self.axes[1][:, None] + warp * self.ripple(rng, 35)
        self.x = self.axes[2] + warp * self.ripple(rng, 35)

    def ripple(self, rng: np.random.Generator, scale: float) -> np.ndarray:
        """Smooth noise of unit variance whose bumps are about `scale` mm, float32 (K, J, I)."""
        factor = np.maximum(scale / (2.5 * self.step), 1)
        coarse = [int(np.ceil(n / f)) + 2 for n, f in zip(self.shape, factor, strict=True)]
        noise = gaussian_filter(rng.standard_normal(coarse, dtype=np.float32), 1.0, mode="wrap")
        noise /= noise.std()
        scaled = [n / c for n, c in zip(self.shape, coarse, strict=True)]
        return zoom(noise, scaled, order=1, grid_mode=True, mode="nearest")

    def box(self, low: Sequence[float], high: Sequence[float]) -> Box | None:
        """The part of the volume between two corners (z, y, x) in mm; None when outside."""
        slices = []
        for axis, a, b in zip(self.axes, low, high, strict=True):
            start, stop = np.searchsorted(axis, [a, b])
            if stop - start < 1:
                return None
            slices.append(slice(int(start), int(stop)))
        return slices[0], slices[1], slices[2]

    def coordinates(self, box: Box) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Warped (z, y, x) of the voxels of a box, broadcastable to its shape."""
        return self.z[box[0]], self.y[box], self.x[box]


def stack(
    space: Space, sections: Sequence[Sequence[float]], *, power: float = 2.0, slant: float = 0.0
) -> Body:
    """A body given by elliptical sections (z, x, y, radius x, radius y), smooth in between.

    `power` above 2 makes sections boxier, `slant` in degrees turns them about Z. The ends taper off
    where the radii do.
    """
    table = np.array(sorted(sections), float)
    reach = table[:, 3:].max() * 1.25 + 8
    low, high = table[:, 1:3].min(0) - reach, table[:, 1:3].max(0) + reach
    box = space.box((table[0, 0], low[1], low[0]), (table[-1, 0], high[1], high[0]))
    if box is None:
        raise ValueError("The sections lie outside the volume.")
    z, y, x = space.coordinates(box)
    cx, cy, rx, ry = PchipInterpolator(table[:, 0], table[:, 1:])(z[:, 0, 0]).T[:, :, None, None]
    rx, ry = np.maximum(rx, 0.5), np.maximum(ry, 0.5)
    angle = np.deg2rad(slant)
    across, back = x - cx, y - cy
    u = np.abs((np.cos(angle) * across + np.sin(angle) * back) / rx)
    v = np.abs((np.cos(angle) * back - np.sin(angle) * across) / ry)
    norm = (u**power + v**power) ** (1 / power)
    return Body(box, ((1 - norm) * np.sqrt(rx * ry)).astype(np.float32))


def tube(
    space: Space,
    points: Sequence[Sequence[float]],
    radii: float | Sequence[float],
    *,
    tall: float = 1.0,
    flat: float = 1.0,
) -> Body | None:
    """A tube along the smooth curve through `points` (x, y, z); None outside the volume.

    `radii` in mm, one or several along the curve; `tall` scales them along z and `flat` along y.
    """
    knots = np.array(points, float)[:, ::-1]
    radii = np.atleast_1d(np.asarray(radii, float))
    chord = np.r_[0, np.cumsum(np.linalg.norm(np.diff(knots, axis=0), axis=1))]
    count = max(3, int(1.2 * chord[-1] / max(1.0, 0.35 * radii.min())))
    along = np.linspace(0, chord[-1], count)
    path = CubicSpline(chord, knots)(along) if len(knots) > 2 else None
    if path is None:
        path = np.linspace(knots[0], knots[1], count)
    width = np.interp(np.linspace(0, 1, count), np.linspace(0, 1, len(radii)), radii)
    scale = np.array([tall, flat, 1.0])
    reach = (radii.max() + 9) * scale
    whole = space.box(path.min(0) - reach, path.max(0) + reach)
    if whole is None:
        return None
    field = np.full([s.stop - s.start for s in whole], -9, np.float32)
    for centre, radius in zip(path, width, strict=True):
        # Coordinates are warped by a few millimetres: hence the wider box.
        part = space.box(centre - (radius + 9) * scale, centre + (radius + 9) * scale)
        if part is None:
            continue
        z, y, x = (
            (c - m) / s for c, m, s in zip(space.coordinates(part), centre, scale, strict=True)
        )
        inner = tuple(
            slice(p.start - w.start, p.stop - w.start) for p, w in zip(part, whole, strict=True)
        )
        view = field[inner]
        np.maximum(view, radius - np.sqrt(z * z + y * y + x * x), out=view)
    return Body(whole, field)


def join(space: Space, bodies: Sequence[Body | None], rounding: float = 0.0) -> Body:
    """The union of bodies; `rounding` in mm fills the grooves between them."""
    present = [b for b in bodies if b is not None]
    box = tuple(
        slice(min(b.box[i].start for b in present), max(b.box[i].stop for b in present))
        for i in range(3)
    )
    total = np.full([s.stop - s.start for s in box], -99, np.float32)
    for body in present:
        inner = tuple(
            slice(p.start - w.start, p.stop - w.start) for p, w in zip(body.box, box, strict=True)
        )
        view, other = total[inner], body.field
        if rounding:
            blend = np.maximum(rounding - np.abs(view - other), 0) ** 2 / (4 * rounding)
            view[:] = np.maximum(view, other) + blend
        else:
            np.maximum(view, other, out=view)
    return Body((box[0], box[1], box[2]), total)


def carve(space: Space, body: Body, other: Body, gap: float = 0.0) -> Body:
    """`body` without `other` grown by `gap` mm."""
    outside = np.full(space.shape, 99, np.float32)
    outside[other.box] = -other.field - gap
    return Body(body.box, np.minimum(body.field, outside[body.box]))
