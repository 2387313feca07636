"""How well a mask agrees with the reference, in physical units; by MONAI.

Surfaces are the voxels of a mask with a face neighbour outside it. Outside the volume counts as
outside the object, so an object that touches the border has a surface there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

DEFAULT_TOLERANCE_MM = 1.0


@dataclass(frozen=True)
class Scores:
    """Agreement of two masks.

    Attributes:
        dice, iou: 0..1.
        hd95_mm: the larger one of the two directed 95th percentiles of surface distances.
        nsd: normalised surface Dice, the share of both surfaces within the tolerance, 0..1.
    """

    dice: float
    iou: float
    hd95_mm: float
    nsd: float


def scores(
    predicted: np.ndarray,
    truth: np.ndarray,
    spacing: tuple[float, float, float],
    tolerance_mm: float = DEFAULT_TOLERANCE_MM,
) -> Scores:
    """Compare a mask with the reference.

    Where both are empty they agree: 1, 1, 0 mm and 1. Where one of them is empty: 0, 0, the
    diagonal of the volume (there is no distance to what is not there, and leaving such a failure
    out would flatter the mean) and 0.

    Args:
        predicted, truth: bool arrays of one shape, three axes.
        spacing: millimetres along those axes.
        tolerance_mm: of the normalised surface Dice.
    """
    import torch
    from monai.metrics import (
        compute_dice,
        compute_hausdorff_distance,
        compute_iou,
        compute_surface_dice,
    )

    predicted, truth = np.asarray(predicted, bool), np.asarray(truth, bool)
    if not predicted.any() and not truth.any():
        return Scores(1.0, 1.0, 0.0, 1.0)
    if not (predicted.any() and truth.any()):
        size = [n * mm for n, mm in zip(truth.shape, spacing, strict=True)]
        return Scores(0.0, 0.0, math.hypot(*size), 0.0)
    box = _union_box(predicted, truth)
    # The ring of background makes the volume's border a surface, whatever MONAI does there.
    pair = [
        torch.from_numpy(np.pad(mask[box], 1))[None, None].float() for mask in (predicted, truth)
    ]
    surface = {"include_background": True, "spacing": list(spacing)}
    distance = compute_hausdorff_distance(*pair, percentile=95, **surface)
    nsd = compute_surface_dice(*pair, class_thresholds=[tolerance_mm], **surface)
    return Scores(
        float(compute_dice(*pair)), float(compute_iou(*pair)), float(distance), float(nsd)
    )


def dice(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Dice of two bool arrays, by MONAI; 1 where both are empty."""
    import torch
    from monai.metrics import compute_dice

    pair = [torch.from_numpy(np.ascontiguousarray(a))[None, None] for a in (predicted, truth)]
    return float(compute_dice(*pair, ignore_empty=False))


def _union_box(first: np.ndarray, second: np.ndarray) -> tuple[slice, ...]:
    """The smallest box around both masks, beyond which nothing changes a score."""
    box = []
    for axis in range(first.ndim):
        others = tuple(a for a in range(first.ndim) if a != axis)
        used = np.flatnonzero(first.any(others) | second.any(others))
        box.append(slice(int(used[0]), int(used[-1]) + 1))
    return tuple(box)
