"""Where a training clip is cut: the first slice, the in-plane field of view, the resampling."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

SMALLEST_AREA = 20
SMALLEST_FIELD = 28
_CLOSE_UPS = 0.08  # of the clips show a part of the object only, as a click's smallest view does
_TO_THE_END = 3.0  # times as likely: clips that reach an end of the object from its thick part


def first_slice(
    rng: np.random.Generator, areas: np.ndarray, step: int, direction: int, length: int
) -> int | None:
    """A slab start with enough of the target on it, such that the whole clip fits.

    `areas` (N,) in voxels per slice; large areas, mostly the central ones, are likelier, and more
    so where the object ends within the clip.
    """
    starts = np.arange(len(areas) - step + 1)
    slab = np.convolve(areas, np.ones(step) / step, mode="valid")
    last = starts + direction * step * (length - 1)
    usable = (slab >= SMALLEST_AREA) & (last >= 0) & (last <= len(areas) - step)
    weights = np.where(usable, slab, 0.0)
    ends = usable & (slab[np.clip(last, 0, len(slab) - 1)] < SMALLEST_AREA)
    weights[ends & (slab >= 0.4 * slab.max())] *= _TO_THE_END
    if not weights.any():
        return None
    return int(rng.choice(starts, p=weights / weights.sum()))


def field_of_view(
    rng: np.random.Generator,
    occupancy: np.ndarray,
    box: tuple[slice, ...],
    slice_shape: tuple[int, ...],
) -> tuple[slice, slice] | None:
    """The part of the slice to show: square around the target, shifted to lie in the slice."""
    if rng.random() < 0.1:
        return slice(0, slice_shape[0]), slice(0, slice_shape[1])
    seen = occupancy >= 0.5
    seen = seen.any(axis=0) if rng.random() < 0.6 else seen[0]
    if not seen.any():
        return None
    spans = []
    for axis, offset in ((1, box[1].start), (0, box[2].start)):
        hit = np.nonzero(seen.any(axis=axis))[0]
        spans.append((offset + hit[0], offset + hit[-1] + 1))
    longest = max(stop - start for start, stop in spans)
    if rng.random() < _CLOSE_UPS:
        return _close_up(rng, seen, box, longest, slice_shape)
    side = max(longest * np.exp(rng.uniform(np.log(1.3), np.log(4.0))), SMALLEST_FIELD)
    stretch = np.exp(rng.uniform(np.log(0.75), np.log(1.33)) / 2)
    field = []
    for (start, stop), length, factor in zip(
        spans, slice_shape, (stretch, 1 / stretch), strict=True
    ):
        wanted = min(max(round(side * factor), stop - start + 2), length)
        slack = max(wanted - (stop - start), 0)
        low = round(start - slack * np.clip(0.5 + rng.normal(0, 0.15), 0.05, 0.95))
        low = min(max(low, 0), length - wanted)
        field.append(slice(low, low + wanted))
    return field[0], field[1]


def _close_up(
    rng: np.random.Generator,
    seen: np.ndarray,
    box: tuple[slice, ...],
    longest: int,
    slice_shape: tuple[int, ...],
) -> tuple[slice, slice]:
    """A square around some pixel of the object, smaller than the object."""
    pixels = np.argwhere(seen)
    middle = pixels[rng.integers(len(pixels))] + [box[1].start, box[2].start]
    side = max(round(longest * rng.uniform(0.4, 1.1)), SMALLEST_FIELD)
    field = []
    for at, length in zip(middle, slice_shape, strict=True):
        wanted = min(side, length)
        low = min(max(int(at) - wanted // 2, 0), length - wanted)
        field.append(slice(low, low + wanted))
    return field[0], field[1]


def resample(rng: np.random.Generator, stack: torch.Tensor, size: int) -> torch.Tensor:
    """(C, T, h, w) to (C, T, size, size), with flips, quarter turns and some small rotations."""
    out = F.interpolate(stack, size=(size, size), mode="bilinear", antialias=True)
    if rng.random() < 0.25:
        angle, scale = rng.normal(0, 0.2), np.exp(rng.normal(0, 0.06))
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        theta = torch.zeros(len(out), 2, 3)
        theta[:, :, :2] = torch.from_numpy(turn)
        grid = F.affine_grid(theta, list(out.shape), align_corners=False)
        out = F.grid_sample(out, grid, padding_mode="border", align_corners=False)
    if rng.random() < 0.5:
        out = out.flip(-1)
    if rng.random() < 0.3:
        out = out.flip(-2)
    if rng.random() < 0.3:
        out = torch.rot90(out, int(rng.integers(1, 4)), (-2, -1))
    return out.contiguous()
