"""Smooth random bodies as level-set functions on a voxel grid: blobs, tubes, and smooth noise.

Every shape is a `Region`: a box of the volume and a function on it that is positive inside and
roughly the distance to the surface in voxels. Axes are (Z, Y, X) everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Region:
    """A level-set function on a box of a volume.

    `phi` is float32 of the box's shape (Z, Y, X): positive inside, in voxels.
    """

    box: tuple[slice, slice, slice]
    phi: np.ndarray


def upsample(coarse: np.ndarray, stride: int, shape: Sequence[int]) -> np.ndarray:
    """Trilinear interpolation of a grid whose nodes lie `stride` voxels apart.

    `coarse` (Z', Y', X') float32 must reach at least as far as `shape`; returns float32 `shape`.
    """
    if stride == 1:
        return coarse[: shape[0], : shape[1], : shape[2]]
    size = [(n - 1) * stride + 1 for n in coarse.shape]
    fine = F.interpolate(
        torch.from_numpy(coarse)[None, None], size=size, mode="trilinear", align_corners=True
    )[0, 0]
    return fine[: shape[0], : shape[1], : shape[2]].numpy()


def nodes(length: int, stride: int) -> int:
    """Number of nodes `stride` voxels apart needed to cover `length` voxels."""
    return -(-(length - 1) // stride) + 1 if length > 1 else 2


def smooth_noise(
    rng: np.random.Generator, shape: Sequence[int], sigma: float | Sequence[float]
) -> np.ndarray:
    """Gaussian-filtered white noise, float32 of `shape`, zero mean and unit standard deviation.

    `sigma` is in voxels of that grid, one for all axes or one for each.
    """
    noise = gaussian_filter(
        rng.standard_normal(shape, dtype=np.float32), sigma, mode="wrap", truncate=3.0
    )
    noise -= noise.mean()
    return noise / max(float(noise.std()), 1e-6)


def random_rotation(rng: np.random.Generator, amount: float) -> np.ndarray:
    """A 3×3 rotation; `amount` 0 gives the identity, 1 a uniformly random one."""
    quaternion = np.array([1.0, 0.0, 0.0, 0.0]) * (1 - amount) + amount * rng.standard_normal(4)
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def _clip_box(low: np.ndarray, high: np.ndarray, shape: Shape) -> tuple[slice, slice, slice] | None:
    starts = np.maximum(np.floor(low).astype(int), 0)
    stops = np.minimum(np.ceil(high).astype(int) + 1, shape)
    if np.any(stops - starts < 2):
        return None
    return tuple(slice(int(a), int(b)) for a, b in zip(starts, stops, strict=True))  # type: ignore


def blob(
    rng: np.random.Generator,
    shape: Shape,
    centre: Sequence[float],
    radii: Sequence[float],
    *,
    rotation: float = 0.3,
    power: float = 2.0,
    wobble: float = 0.12,
    bend: float = 0.0,
    taper: float = 0.0,
) -> Region | None:
    """A deformed superellipsoid, or None when it lies outside the volume.

    `centre` and `radii` (3,) in voxels. `wobble` is the standard deviation of the surface's smooth
    perturbation relative to the mean radius, `bend` curves the long shape into a bean, `taper`
    (-1 to 1) narrows one end of the first axis.
    """
    centre, radii = np.asarray(centre, float), np.asarray(radii, float)
    matrix = random_rotation(rng, rotation)
    reach = np.abs(matrix) @ (radii * (1.15 + abs(bend) + 2 * wobble)) + 2
    box = _clip_box(centre - reach, centre + reach, shape)
    if box is None:
        return None
    lengths = [s.stop - s.start for s in box]
    stride = int(np.clip(radii.min() / 3.5, 1, 4))
    axes = [
        (s.start + stride * np.arange(nodes(n, stride)) - c).astype(np.float32)
        for s, n, c in zip(box, lengths, centre, strict=True)
    ]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) @ (matrix / radii).astype(
        np.float32
    )
    z, y, x = np.moveaxis(grid, -1, 0)
    if bend:
        y = y + bend * (z * z - 0.4)
    if taper:
        narrow = np.clip(1 + taper * z, 0.35, 1.8)
        y, x = y / narrow, x / narrow
    norm = (np.abs(z) ** power + np.abs(y) ** power + np.abs(x) ** power) ** (1 / power)
    size = float(np.exp(np.log(radii).mean()))
    phi = (1 - norm) * size
    if wobble:
        scale = rng.uniform(0.3, 0.6) * size / stride
        phi += wobble * size * smooth_noise(rng, phi.shape, scale)
        phi += 0.25 * wobble * size * smooth_noise(rng, phi.shape, 0.4 * scale)
    return Region(box, upsample(phi.astype(np.float32), stride, lengths))


def curve(points: np.ndarray, step: float) -> np.ndarray:
    """Points (M, 3) about `step` voxels apart on a smooth curve through `points` (N, 3)."""
    points = np.asarray(points, float)
    chord = np.r_[0, np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1) + 1e-3)]
    samples = np.linspace(0, chord[-1], max(2, int(chord[-1] * 1.15 / step)))
    if len(points) < 3:
        weight = (samples / chord[-1])[:, None]
        return points[0] * (1 - weight) + points[-1] * weight
    return CubicSpline(chord, points)(samples)


def tube(
    shape: Shape,
    points: np.ndarray,
    radius: float | Sequence[float],
    *,
    squash: Sequence[float] = (1.0, 1.0, 1.0),
    wobble: tuple[np.random.Generator, float] | None = None,
) -> Region | None:
    """A tube around the smooth curve through `points` (N, 3), or None when outside the volume.

    `radius` in voxels: one, or several that are interpolated along the curve. `squash` multiplies
    the radius along Z, Y and X. `wobble` is a generator and the standard deviation of the
    surface's perturbation relative to the mean radius.
    """
    radii = np.atleast_1d(np.asarray(radius, float))
    path = curve(points, max(0.6, 0.45 * float(radii.min())))
    radii = np.interp(np.linspace(0, 1, len(path)), np.linspace(0, 1, len(radii)), radii)
    squash = np.asarray(squash, float)
    reach = (radii.max() + 1.5) * squash + 1
    box = _clip_box(path.min(0) - reach, path.max(0) + reach, shape)
    if box is None:
        return None
    origin = np.array([s.start for s in box])
    size = tuple(s.stop - s.start for s in box)
    phi = np.full(size, -9.0, np.float32)
    for centre, r in zip(path - origin, radii, strict=True):
        ball = _clip_box(centre - (r + 1.5) * squash, centre + (r + 1.5) * squash, size)
        if ball is None:
            continue
        z, y, x = (
            ((np.arange(s.start, s.stop) - c) / q).astype(np.float32) ** 2
            for s, c, q in zip(ball, centre, squash, strict=True)
        )
        distance = np.sqrt(z[:, None, None] + y[:, None] + x)
        view = phi[ball]
        np.maximum(view, np.float32(r) - distance, out=view)
    if wobble is not None:
        rng, amount = wobble
        mean = float(radii.mean())
        stride = int(np.clip(mean / 3, 2, 4))
        noise = smooth_noise(rng, [nodes(n, stride) for n in size], 0.6 * mean / stride)
        phi += amount * mean * upsample(noise, stride, size)
    return Region(box, phi)


def cells(
    rng: np.random.Generator,
    shape: Shape,
    centres: np.ndarray,
    weights: np.ndarray,
    warp: float,
    along: float = 0.75,
) -> list[Region | None]:
    """Divides the volume among `centres` (N, 3) into neighbours that fit each other.

    A weighted Voronoi diagram in warped coordinates: a larger weight (N,) in voxels gives a larger
    cell, `warp` is the standard deviation of the displacement in voxels, `along` under 1 stretches
    cells along Z. Corners are rounded. One region for each centre, None where it is empty.
    """
    stride = 4
    grid = [nodes(n, stride) for n in shape]
    axes = [stride * np.arange(n, dtype=np.float32) for n in grid]
    points = np.stack(np.meshgrid(*axes, indexing="ij"))
    for axis in points:
        axis += warp * smooth_noise(rng, grid, rng.uniform(2.5, 5))
    distances = np.empty((len(centres), *grid), np.float32)
    for row, centre, weight in zip(distances, centres, weights, strict=True):
        squeeze = np.exp(rng.normal(0, 0.2, 3)) * [along, 1, 1]
        square = sum(((p - c) * q) ** 2 for p, c, q in zip(points, centre, squeeze, strict=True))
        row[:] = np.sqrt(square) - weight
    nearest, second = np.partition(distances, 1, axis=0)[:2]
    regions: list[Region | None] = []
    for row in distances:
        phi = 0.5 * (np.where(row <= nearest, second, nearest) - row)
        hit = np.nonzero(phi > -1)
        if not len(hit[0]):
            regions.append(None)
            continue
        spans = [(max(h.min() - 1, 0), min(h.max() + 2, n)) for h, n in zip(hit, grid, strict=True)]
        coarse = phi[tuple(slice(a, b) for a, b in spans)]
        coarse = gaussian_filter(coarse, rng.uniform(0.7, 1.8), mode="nearest")
        coarse += rng.uniform(0.1, 0.5) * smooth_noise(rng, coarse.shape, rng.uniform(1, 2))
        low = [stride * a for a, _ in spans]
        high = [min(stride * (b - 1) + 1, n) for (_, b), n in zip(spans, shape, strict=True)]
        box = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))
        regions.append(
            Region(box, upsample(coarse, stride, [b - a for a, b in zip(low, high, strict=True)]))
        )
    return regions
