"""The markups that are the prompts of one segment."""

from __future__ import annotations

import weakref
from collections.abc import Mapping

import slicer

from ...geometry import Grid, StackGeometry
from ...prompts import Box, Point
from ..nodes import nodes_of_class
from .markups import align_roi, box_of_roi, is_placed, points_of_node, shape_roi
from .placing import placing_node, same_target, stop_placing
from .prompt_folder import file_away, remove_empty_folder, remove_node
from .prompt_look import apply_look, set_locked
from .prompt_writing import write_boxes, write_points

# Points and box by slice index of a stack; slices with neither are left out.
SlicePrompts = Mapping[int, tuple[tuple[Point, ...], Box | None]]

_SEGMENTATION_ROLE = "SAM2Medical3D.Segmentation"
_SEGMENT_ATTRIBUTE = "SAM2Medical3D.Segment"
_KIND_ATTRIBUTE = "SAM2Medical3D.Prompt"
_MARKS = {"positive": "+", "negative": "-", "box": "box"}


class PromptNodes:
    """Points and boxes of one segment as ordinary markups, that can be dragged, deleted and saved.

    There is one list of positive points, one of negative points, and an ROI for every box. They
    refer to their segmentation and segment, are in world coordinates wherever the segmentation is,
    and have the segment's name as long as this object lives.

    Args:
        segmentation_node: in a scene; nodes that refer to it are found again.
        segment_id: the segment they are for.
    """

    def __init__(self, segmentation_node: slicer.vtkMRMLSegmentationNode, segment_id: str) -> None:
        self._segmentation, self._segment_id = segmentation_node, segment_id
        self._scene, self._segmentation_id = segmentation_node.GetScene(), segmentation_node.GetID()
        # With the segmentation Slicer removes the references to it; the nodes are still these.
        self._found: set[str] = set()
        nodes = self.nodes()
        self._shown = not nodes or any(node.GetDisplayVisibility() for node in nodes)
        self._editable = not any(node.GetLocked() for node in nodes)
        self._follow_name()
        self._update_names()

    # The nodes

    def points(self, positive: bool) -> slicer.vtkMRMLMarkupsFiducialNode:
        """The list of positive or of negative points; made when it is first asked for."""
        kind = "positive" if positive else "negative"
        nodes = self._nodes(kind)
        return nodes[0] if nodes else self._create("vtkMRMLMarkupsFiducialNode", kind)

    def new_box(self, grid: Grid | None = None) -> slicer.vtkMRMLMarkupsROINode:
        """An ROI that the user has still to place, with two clicks; one that waits already if any.

        Slicer makes the ROI around both clicks along its axes as they were before. So in an oblique
        volume it has to be turned first, or what is drawn is lost.

        Args:
            grid: of the volume; None for one along the patient's axes.
        """
        waiting = [roi for roi in self._nodes("box") if not is_placed(roi)]
        roi = waiting[0] if waiting else self._create("vtkMRMLMarkupsROINode", "box")
        roi.RemoveAllControlPoints()
        if grid is not None:
            align_roi(roi, grid.ijk_to_ras[:3, :3])
        return roi

    def nodes(self) -> list[slicer.vtkMRMLMarkupsNode]:
        """All that exist: positive points, negative points, boxes in the order they were made."""
        return [node for kind in _MARKS for node in self._nodes(kind)]

    def kind(self, node: slicer.vtkMRMLMarkupsNode) -> str | None:
        """``positive``, ``negative`` or ``box``; None if it is no prompt of this segment."""
        refers_to = node.GetNodeReferenceID(_SEGMENTATION_ROLE)
        is_left = refers_to is None and node.GetID() in self._found
        if node.GetAttribute(_SEGMENT_ATTRIBUTE) != self._segment_id:
            return None
        if refers_to != self._segmentation_id and not is_left:
            return None
        kind = node.GetAttribute(_KIND_ATTRIBUTE)
        is_box = node.IsA("vtkMRMLMarkupsROINode")
        fits = is_box if kind == "box" else node.IsA("vtkMRMLMarkupsFiducialNode")
        return kind if kind in _MARKS and fits else None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is placed."""
        lists = self._nodes("positive") + self._nodes("negative")
        return not self._boxes() and not any(n.GetNumberOfDefinedControlPoints() for n in lists)

    # What they say

    def read(self, geometry: StackGeometry) -> SlicePrompts:
        """What is placed: on each slice positive points, then negative ones, each in their order.

        Each point belongs to the slice nearest to it, a box to the one nearest to its centre. Of
        two boxes on a slice the later one counts. A slice may have only negative points.

        Raises:
            UserError: a point or the centre of a box lies outside the volume.
        """
        points: dict[int, list[Point]] = {}
        for kind in ("positive", "negative"):
            for node in self._nodes(kind):
                for index, point in points_of_node(geometry, node, kind == "positive"):
                    points.setdefault(index, []).append(point)
        boxes = dict(box_of_roi(geometry, roi) for roi in self._boxes())
        return {
            index: (tuple(points.get(index, ())), boxes.get(index))
            for index in sorted({*points, *boxes})
        }

    def write(self, geometry: StackGeometry, prompts: SlicePrompts) -> None:
        """Make the nodes say exactly this; nothing is touched that is within 0.01 pixel of it.

        What the user is about to place stays as it is.
        """
        for positive in (True, False):
            wanted = {
                index: [point for point in points if point.positive is positive]
                for index, (points, _) in prompts.items()
            }
            kind = "positive" if positive else "negative"
            for copy in self._nodes(kind)[1:]:  # made by the user, in the Data module
                self._remove(copy)
            if self._nodes(kind) or any(wanted.values()):
                write_points(self.points(positive), geometry, wanted)
        boxes = {index: box for index, (_, box) in prompts.items() if box is not None}
        write_boxes(
            self._boxes(),
            geometry,
            boxes,
            lambda: self._create("vtkMRMLMarkupsROINode", "box"),
            self._remove,
        )

    def flatten_box(self, roi: slicer.vtkMRMLMarkupsROINode, geometry: StackGeometry) -> None:
        """Make a box that was placed in a slice view one slice thick and aligned with its slice.

        So it is a rectangle in that view whose corners and edges can be dragged. One that is not
        placed yet, or is flat already, is left alone.

        Args:
            roi: from :meth:`new_box`.
            geometry: slices along the axis of the view.

        Raises:
            UserError: it lies outside the volume or has no area there.
        """
        if not is_placed(roi):
            return
        shape_roi(roi, geometry, *box_of_roi(geometry, roi))

    # In the views

    def set_shown(self, shown: bool) -> None:
        """Show these prompts in the views or hide them; holds for later ones too."""
        self._shown = shown
        for node in self.nodes():
            node.SetDisplayVisibility(shown)

    def set_editable(self, editable: bool) -> None:
        """Let the user drag and delete these prompts or not; holds for later ones too."""
        self._editable = editable
        for node in self.nodes():
            set_locked(node, not editable)

    def remove(self) -> None:
        """Take all away, also when the segmentation is gone already."""
        for node in self.nodes():
            self._remove(node)
        if self._scene is not None:
            remove_empty_folder(self._scene)

    # Inside

    def _nodes(self, kind: str) -> list[slicer.vtkMRMLMarkupsNode]:
        nodes = [
            node
            for node in nodes_of_class(self._scene, "vtkMRMLMarkupsNode")
            if self.kind(node) == kind
        ]
        self._found.update(node.GetID() for node in nodes)
        return nodes

    def _boxes(self) -> list[slicer.vtkMRMLMarkupsROINode]:
        return [roi for roi in self._nodes("box") if is_placed(roi)]

    def _create(self, class_name: str, kind: str) -> slicer.vtkMRMLMarkupsNode:
        with same_target(self._scene):
            node = self._scene.AddNewNodeByClass(class_name, self._name(kind))
        node.SetAttribute(_SEGMENT_ATTRIBUTE, self._segment_id)
        node.SetAttribute(_KIND_ATTRIBUTE, kind)
        node.SetNodeReferenceID(_SEGMENTATION_ROLE, self._segmentation_id)
        # Without the name: Slicer would take a "%" in it for a format of C.
        node.SetControlPointLabelFormat(f"{_MARKS[kind]}%d")
        apply_look(node, kind)
        node.SetDisplayVisibility(self._shown)
        set_locked(node, not self._editable)
        file_away(node)
        return node

    def _remove(self, node: slicer.vtkMRMLMarkupsNode) -> None:
        if placing_node(self._scene) is node:
            stop_placing(self._scene)  # the next click would make a node that belongs to nobody
        remove_node(node)

    def _name(self, kind: str) -> str:
        segment = self._segmentation.GetSegmentation().GetSegment(self._segment_id)
        name = self._segment_id if segment is None else segment.GetName()
        return f"{name} {_MARKS[kind]}"

    def _follow_name(self) -> None:
        # The segmentation must not keep this object, nor call it when it is gone.
        update = weakref.WeakMethod(self._update_names)
        tag = self._segmentation.AddObserver(
            slicer.vtkSegmentation.SegmentModified, lambda *_: update() and update()()
        )
        weakref.finalize(self, self._segmentation.RemoveObserver, tag).atexit = False

    def _update_names(self) -> None:
        if self._segmentation.GetSegmentation().GetSegment(self._segment_id) is None:
            return
        for node in self.nodes():
            name = self._name(self.kind(node))
            if node.GetName() != name:
                node.SetName(name)


def prompt_nodes_of_scene(scene: slicer.vtkMRMLScene) -> dict[tuple[str, str], PromptNodes]:
    """The prompts in a scene by segmentation node id and segment id.

    Those of a segment that has been removed are among them; those of a segmentation that has been
    removed are not.
    """
    found: dict[tuple[str, str], PromptNodes] = {}
    for node in nodes_of_class(scene, "vtkMRMLMarkupsNode"):
        segmentation = node.GetNodeReference(_SEGMENTATION_ROLE)
        segment_id = node.GetAttribute(_SEGMENT_ATTRIBUTE)
        if segmentation is None or segment_id is None:
            continue
        key = segmentation.GetID(), segment_id
        if key not in found:
            found[key] = PromptNodes(segmentation, segment_id)
    return found
