"""What needs no learning. A model that does not beat copy and intensity is worthless."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from .objects import ObjectCase


def copy_slice(case: ObjectCase) -> np.ndarray:
    """The prompted slice's mask over the object's true extent."""
    result = np.zeros_like(case.truth)
    shown = case.shown
    result[shown[0] : shown[-1] + 1] = case.truth[case.central]
    return result


def prompt_only(case: ObjectCase) -> np.ndarray:
    """The prompted slice's mask on that slice, and nothing elsewhere."""
    result = np.zeros_like(case.truth)
    result[case.central] = case.truth[case.central]
    return result


def grow_by_intensity(case: ObjectCase) -> np.ndarray:
    """The prompted slice's mask grown slice by slice.

    Each slice keeps the pixels of the previous mask's neighbourhood (dilated by 3) within two
    standard deviations of the prompted slice's mean, of these the parts that touch the eroded
    previous mask, with holes filled; it ends under a tenth of the prompted slice's area.
    """
    geometry, volume = case.stack.geometry, case.stack.volume
    image = geometry.to_stack(volume.array)
    seed = case.truth[case.central]
    inside = image[case.central][seed].astype(float)
    mean, spread = inside.mean(), inside.std()
    result = np.zeros_like(case.truth)
    result[case.central] = seed
    for step in (1, -1):
        previous, index = seed, case.central + step
        while 0 <= index < len(image):
            near = ndimage.binary_dilation(previous, iterations=3)
            found = near & (np.abs(image[index] - mean) <= 2 * spread)
            core = ndimage.binary_erosion(previous)
            if not core.any():
                core = previous
            parts, _ = ndimage.label(found)
            touching = np.unique(parts[core & found])
            found = ndimage.binary_fill_holes(np.isin(parts, touching[touching > 0]))
            if found.sum() < 0.1 * seed.sum():
                break
            result[index] = previous = found
            index += step
    return result


# References in every report. Each is given the prompted slice's true mask, whatever the protocol's
# prompt is: what a user would have who paints that slice by hand.
REFERENCES: dict[str, Callable[[ObjectCase], np.ndarray]] = {
    "copy": copy_slice,
    "intensity": grow_by_intensity,
    "prompt only": prompt_only,
}
