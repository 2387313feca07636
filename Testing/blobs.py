"""A stack that any working model can follow: bright discs that move, part and end in soft noise."""

from __future__ import annotations

import numpy as np

from SAM2Medical3DLib.geometry import Grid, Plane
from SAM2Medical3DLib.volume import IntensityMapping, SliceStack, Volume

N, SIDE = 24, 96
FIRST, SPLIT, LAST = 3, 12, 20  # first slice, first slice in two parts, last slice


def blob_truth() -> np.ndarray:
    """(24, 96, 96) bool: one disc drifting, then two that draw apart and shrink."""
    rows, cols = np.mgrid[:SIDE, :SIDE]
    truth = np.zeros((N, SIDE, SIDE), bool)
    for s in range(FIRST, LAST + 1):
        t = s / (N - 1)
        if s < SPLIT:
            truth[s] = np.hypot(rows - 40 - 12 * t, cols - 34 - 16 * t) < 13
            continue
        apart, radius = (s - SPLIT) * 1.6, 11 - 3 * t
        for side in (-1, 1):
            truth[s] |= np.hypot(rows - 46 + side * apart, cols - 42 + side * apart / 2) < radius
    return truth


def blob_stack() -> SliceStack:
    """The blobs as an 8-bit volume with thick slices, seen along its slices."""
    truth = blob_truth()
    noise = np.random.default_rng(0).normal(0, 8, truth.shape)
    array = (np.where(truth, 150, 75) + noise).clip(0, 255).astype(np.uint8)
    grid = Grid(array.shape[::-1], np.diag([-1.0, -1.0, 2.0, 1.0]))
    return SliceStack(Volume(array, grid), Plane.AXIAL, IntensityMapping(0, 255))


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Dice of two bool arrays; 1 where both are empty."""
    total = one.sum() + other.sum()
    return 1.0 if total == 0 else float(2 * (one & other).sum() / total)
