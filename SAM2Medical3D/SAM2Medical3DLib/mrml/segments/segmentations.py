"""Masks on a volume's grid into the segments of a segmentation node, and out of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import slicer

from ...colours import Colour
from ...errors import UserError
from ..volumes import grid_from_node
from .labelmaps import labels_on_grid, layers_of
from .masking import Masking
from .segment_edits import plan_edits
from .segment_rules import existing_segment, find_segment, refusal, segmentation_of
from .segment_transaction import apply_edits


def write_segments(
    node: slicer.vtkMRMLSegmentationNode,
    volume_node: slicer.vtkMRMLScalarVolumeNode,
    masks: Mapping[str, np.ndarray],
    masking: Masking = Masking.OVERLAP,
    *,
    colours: Mapping[str, Colour] | None = None,
) -> dict[str, str]:
    """Write masks into segments, all of them or none.

    A key that is no segment's id or name makes a new segment of that name. An existing segment
    then holds the mask and nothing else: what it held outside the volume's grid, or between the
    grid's voxels, is gone. Other segments are touched only as ``masking`` says; hidden and locked
    ones never. Surfaces that the segmentation has are updated, its reference geometry becomes the
    volume's grid, and observers of the node hear of it once, at the end.

    Args:
        node: the segmentation; it and the volume may each be under linear transforms.
        volume_node: the volume on whose voxels the masks are.
        masks: {id or name of a segment: (K, J, I) bool}.
        masking: what happens where a mask meets other segments.
        colours: {key of ``masks``: (red, green, blue) in 0..1} for new segments; the others get
            Slicer's next colour.

    Returns:
        {key of ``masks``: segment id}.

    Raises:
        UserError: a mask of another shape, a hidden or locked segment to be written to, two
            segments of that name, a segmentation stored as something else than binary labelmaps,
            or a non-linear transform between the nodes. Nothing is changed then.
    """
    segmentation = segmentation_of(node)
    grid = grid_from_node(volume_node, node)
    masks = {key: _checked_mask(key, mask, grid.size[::-1]) for key, mask in masks.items()}
    targets = _targets(node, masks)
    edits = plan_edits(
        layers_of(segmentation),
        masks,
        targets,
        grid,
        Masking(masking),
        editable=[id_ for id_ in segmentation.GetSegmentIDs() if refusal(node, id_) is None],
    )
    return apply_edits(node, volume_node, targets, edits, colours or {})


def read_segment(
    node: slicer.vtkMRMLSegmentationNode, segment: str, volume_node: slicer.vtkMRMLScalarVolumeNode
) -> np.ndarray:
    """A segment on a volume's grid as (K, J, I) bool; nearest neighbour if its own grid differs.

    Args:
        node: the segmentation.
        segment: id or name of the segment.
        volume_node: the volume that gives the grid.

    Raises:
        UserError: no such segment, not stored as binary labelmaps, a non-linear transform between
            the nodes.
    """
    segmentation = segmentation_of(node)
    grid = grid_from_node(volume_node, node)
    segment_id = existing_segment(node, segment)
    layer = next(layer for layer in layers_of(segmentation) if segment_id in layer.values)
    return labels_on_grid(layer.labelmap, grid) == layer.values[segment_id]


def segmentation_from_masks(
    scene: slicer.vtkMRMLScene,
    volume_node: slicer.vtkMRMLScalarVolumeNode,
    masks: Mapping[int, np.ndarray],
    names: Mapping[int, str] | None = None,
    colours: Mapping[int, Colour] | None = None,
    *,
    name: str = "Segmentation",
) -> slicer.vtkMRMLSegmentationNode:
    """A new segmentation node of a volume, with its display node, under the volume's transform.

    Args:
        scene: where the node goes.
        volume_node: the volume on whose voxels the masks are.
        masks: {object id: (K, J, I) bool}, as a propagation collects them.
        names: {object id: name of its segment}; the others are called "Object 1", ...
        colours: {object id: (red, green, blue) in 0..1}.
        name: of the node.

    Raises:
        UserError: as :func:`write_segments`, or two objects of one name; no node stays behind then.
    """
    names = {id_: (names or {}).get(id_, f"Object {id_}") for id_ in masks}
    if len(set(names.values())) < len(names):
        raise UserError("Two objects have the same name; give each its own.")
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetAndObserveTransformNodeID(volume_node.GetTransformNodeID())
    try:
        write_segments(
            node,
            volume_node,
            {names[id_]: mask for id_, mask in masks.items()},
            colours={names[id_]: colour for id_, colour in (colours or {}).items() if id_ in names},
        )
    except BaseException:
        scene.RemoveNode(node.GetDisplayNode())
        scene.RemoveNode(node)
        raise
    return node


def _checked_mask(key: str, mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    mask = np.asarray(mask)
    if mask.shape != shape:
        raise UserError(
            f"The mask of {key} has {mask.shape} voxels along K, J, I; the volume has {shape}."
        )
    return mask.astype(bool, copy=False)


def _targets(
    node: slicer.vtkMRMLSegmentationNode, keys: Mapping[str, np.ndarray]
) -> dict[str, str | None]:
    """{key: id of the segment it means, None for a new one}."""
    targets = {key: find_segment(node.GetSegmentation(), key) for key in keys}
    found = [id_ for id_ in targets.values() if id_ is not None]
    if len(set(found)) < len(found):
        raise UserError("Two masks are meant for the same segment; give each its own.")
    for segment_id in found:
        sentence = refusal(node, segment_id)
        if sentence is not None:
            raise UserError(sentence)
    return targets
