"""What writing a segment does to the other segments."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import numpy as np


class Masking(StrEnum):
    """Slicer's masking choice, for voxels that a new mask and another segment both claim.

    OVERLAP: both keep them. OVERWRITE: the other segment loses them, unless it is hidden or locked.
    PROTECT: the new mask does not get them, whether the other segment is visible or not.

    Masks written together treat each other as if they were written one after the other.
    """

    OVERLAP = "overlap"
    OVERWRITE = "overwrite"
    PROTECT = "protect"


def separated(
    masks: Mapping[str, np.ndarray], masking: Masking, occupied: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Masks as they may be written together.

    Args:
        masks: {key: (K, J, I) bool} in the order of writing. Not changed.
        masking: who gets a voxel that several masks claim: all of them (overlap), the last one
            (overwrite) or the first one (protect).
        occupied: (K, J, I) bool, voxels that no mask may enter, or None.

    Returns:
        {key: (K, J, I) bool} in the same order; masks that lose nothing are not copied.
    """
    if masking is Masking.OVERLAP:
        return dict(masks)
    keys = list(masks) if masking is Masking.PROTECT else list(reversed(masks))
    taken = occupied
    kept: dict[str, np.ndarray] = {}
    for key in keys:
        kept[key] = masks[key] if taken is None else masks[key] & ~taken
        if len(keys) > 1:
            taken = kept[key] if taken is None else taken | kept[key]
    return {key: kept[key] for key in masks}
