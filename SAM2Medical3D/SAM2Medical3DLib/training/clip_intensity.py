"""Random changes of a clip's intensities: window, gamma, inversion, noise, 8-bit steps."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_dilation, binary_erosion

LEVELS = 255
LEAST_CONTRAST = 0.03
LEAST_CONTRAST_TO_NOISE = 0.35


def vary_intensity(rng: np.random.Generator, frames: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """`frames` float32 (T, S, S) in [0, 1] changed alike on all slices; `masks` bool (T, S, S).

    The window never cuts into the target's own range by more than its darkest and brightest
    twentieth. Returns float32 (T, S, S) in [0, 1].
    """
    out = frames
    if rng.random() < 0.5:
        low, high = np.quantile(out[0][masks[0]], [0.05, 0.95])
        bottom = rng.uniform(0, 1) * max(float(low) - 0.03, 0.0)
        top = 1 - rng.uniform(0, 1) * max(0.97 - float(high), 0.0)
        out = np.clip((out - bottom) / max(top - bottom, 0.1), 0, 1)
    elif rng.random() < 0.3:
        out = (out - out.min()) / max(float(out.max() - out.min()), 1e-3)
    if rng.random() < 0.5:
        out = np.clip(out, 0, 1) ** np.float32(np.exp(rng.normal(0, 0.25)))
    if rng.random() < 0.3:
        out = np.clip(0.5 + (out - 0.5) * rng.uniform(0.6, 1.0) + rng.uniform(-0.15, 0.15), 0, 1)
    if rng.random() < 0.1:
        out = 1 - out
    if rng.random() < 0.25:
        out = out + rng.uniform(0.005, 0.04) * rng.standard_normal(out.shape, dtype=np.float32)
    if rng.random() < 0.2:
        out = out * (1 + rng.normal(0, 0.03, (len(out), 1, 1)))
    out = np.clip(out, 0, 1)
    if rng.random() < 0.8:
        out = np.round(out * LEVELS) / LEVELS
    return np.ascontiguousarray(out, dtype=np.float32)


def visible(frame: np.ndarray, mask: np.ndarray) -> bool:
    """Whether a mask's edge can be seen: the means just inside and just outside differ enough.

    `frame` float32 (S, S) in [0, 1], `mask` bool (S, S). Enough is a share of the range, and of
    the noise; a mask that fills the frame, or is too small for an inside, counts as visible.
    """
    inside = frame[mask & ~binary_erosion(mask, iterations=4)]
    outside = frame[binary_dilation(mask, iterations=4) & ~mask]
    if not inside.size or not outside.size:
        return True
    contrast = abs(float(inside.mean()) - float(outside.mean()))
    noise = float(min(inside.std(), outside.std()))
    return contrast >= max(LEAST_CONTRAST, LEAST_CONTRAST_TO_NOISE * noise)
