"""Which segment is meant, and whether it may be changed."""

from __future__ import annotations

import slicer

from ...errors import UserError

# Slicer has no lock for a single segment; a tag is saved with it.
_LOCKED_TAG = "SAM2Medical3D.Locked"


def binary_labelmap() -> str:
    """Slicer's name of the binary labelmap representation."""
    return slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()


def segmentation_of(node: slicer.vtkMRMLSegmentationNode | None) -> slicer.vtkSegmentation:
    """The segmentation of a node, stored as binary labelmaps (or with no segment yet).

    Raises:
        UserError: no node, or segments stored as something else, such as surfaces.
    """
    if node is None:
        raise UserError("No segmentation is selected; create or select one first.")
    segmentation = node.GetSegmentation()
    stored_as = segmentation.GetSourceRepresentationName()
    if segmentation.GetNumberOfSegments() and stored_as != binary_labelmap():
        raise UserError(
            f"{node.GetName()} is stored as {stored_as.lower()}; in the Segmentations module "
            "create its binary labelmap representation and make it the source."
        )
    return segmentation


def find_segment(segmentation: slicer.vtkSegmentation, key: str) -> str | None:
    """The id of the segment with this id, or else with this name; None if there is none.

    Raises:
        UserError: several segments have the name.
    """
    ids = segmentation.GetSegmentIDs()
    if key in ids:
        return key
    named = [id_ for id_ in ids if segmentation.GetSegment(id_).GetName() == key]
    if len(named) > 1:
        raise UserError(f"There are {len(named)} segments named {key}; rename one of them.")
    return named[0] if named else None


def existing_segment(node: slicer.vtkMRMLSegmentationNode, key: str) -> str:
    """The id of the segment with this id, or else with this name.

    Raises:
        UserError: there is none, or several have the name.
    """
    segment_id = find_segment(node.GetSegmentation(), key)
    if segment_id is None:
        raise UserError(f"{node.GetName()} has no segment {key}; select one that exists.")
    return segment_id


def set_locked(node: slicer.vtkMRMLSegmentationNode, segment: str, locked: bool = True) -> None:
    """Lock a segment (id or name) against every write of this library, or unlock it.

    The lock is a tag of the segment, so it is saved with it.

    Raises:
        UserError: no such segment.
    """
    found = node.GetSegmentation().GetSegment(existing_segment(node, segment))
    if locked:
        found.SetTag(_LOCKED_TAG, "1")
    else:
        found.RemoveTag(_LOCKED_TAG)


def is_locked(node: slicer.vtkMRMLSegmentationNode, segment: str) -> bool:
    """Whether :func:`set_locked` locked this segment (id or name).

    Raises:
        UserError: no such segment.
    """
    return node.GetSegmentation().GetSegment(existing_segment(node, segment)).HasTag(_LOCKED_TAG)


def refusal(node: slicer.vtkMRMLSegmentationNode, segment_id: str) -> str | None:
    """A sentence why this segment must not be changed, or None if it may be."""
    name = node.GetSegmentation().GetSegment(segment_id).GetName()
    display = node.GetDisplayNode()
    if display is not None and not display.GetSegmentVisibility(segment_id):
        return f"The segment {name} is hidden; show it before it is written to."
    if is_locked(node, segment_id):
        return f"The segment {name} is locked; unlock it before it is written to."
    return None
