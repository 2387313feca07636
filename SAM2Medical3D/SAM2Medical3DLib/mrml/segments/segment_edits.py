"""Works out, without touching anything, which labelmaps a write of segments leaves behind."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import slicer

from ...geometry import Grid
from .labelmaps import (
    Layer,
    labelmap_from_mask,
    labels_on_grid,
    labels_on_image,
    voxels,
    with_voxels,
)
from .masking import Masking, separated


@dataclass(frozen=True, eq=False)
class Edits:
    """The labelmaps after a write.

    Attributes:
        written: {key: labelmap} of the masks, label value 1, one image each.
        layers: {segment id: labelmap} of segments that stay in a layer that had to be changed.
            Their label values stay as they are.
        losers: ids of the segments that lost voxels.
    """

    written: Mapping[str, slicer.vtkOrientedImageData]
    layers: Mapping[str, slicer.vtkOrientedImageData] = field(default_factory=dict)
    losers: Collection[str] = ()


def plan_edits(
    layers: Collection[Layer],
    masks: Mapping[str, np.ndarray],
    targets: Mapping[str, str | None],
    grid: Grid,
    masking: Masking,
    editable: Collection[str],
) -> Edits:
    """What a write of masks leaves behind.

    Args:
        layers: the labelmap layers as they are.
        masks: {key: (K, J, I) bool} on ``grid``, in the order of writing.
        targets: {key: id of the segment to replace, or None for a new one}.
        grid: where the masks' voxels are, in the segmentation's own coordinates.
        masking: what happens to voxels of other segments.
        editable: segments that may lose voxels.
    """
    replaced = {id_ for id_ in targets.values() if id_ is not None}
    occupied = None
    if masking is Masking.PROTECT:
        occupied = np.zeros(grid.size[::-1], bool)
        for layer in layers:
            others = [value for id_, value in layer.values.items() if id_ not in replaced]
            if others:
                occupied |= np.isin(labels_on_grid(layer.labelmap, grid), others)
    masks = separated(masks, masking, occupied)
    victims = set(editable) - replaced if masking is Masking.OVERWRITE else set()
    changed, losers = _changed_layers(layers, masks, grid, replaced, victims)
    written = {key: labelmap_from_mask(mask, grid) for key, mask in masks.items()}
    return Edits(written, changed, losers)


def _changed_layers(
    layers: Collection[Layer],
    masks: Mapping[str, np.ndarray],
    grid: Grid,
    replaced: Collection[str],
    victims: Collection[str],
) -> tuple[dict[str, slicer.vtkOrientedImageData], set[str]]:
    """Layers without the replaced segments and without what the victims lose."""
    changed: dict[str, slicer.vtkOrientedImageData] = {}
    losers: set[str] = set()
    cover = None
    if victims:
        cover = labelmap_from_mask(np.logical_or.reduce(list(masks.values())), grid)
    for layer in layers:
        staying = [id_ for id_ in layer.values if id_ not in replaced]
        before = voxels(layer.labelmap)
        if not staying or not before.size:
            continue
        leaving = [value for id_, value in layer.values.items() if id_ in replaced]
        erased = np.isin(before, leaving)
        here = [id_ for id_ in staying if id_ in victims]
        if here:
            covered = labels_on_image(cover, layer.labelmap) != 0
            for id_ in here:
                lost = covered & (before == layer.values[id_])
                if lost.any():
                    losers.add(id_)
                    erased |= lost
        if erased.any():
            image = with_voxels(layer.labelmap, np.where(erased, before.dtype.type(0), before))
            changed.update(dict.fromkeys(staying, image))
    return changed, losers
