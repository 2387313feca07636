"""A scene with a volume, a segmentation and three slice views, and a user's acts on it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import slicer

from blobs import blob_truth
from SAM2Medical3DLib.geometry import Grid, Plane, StackGeometry
from SAM2Medical3DLib.mrml import (
    Masking,
    grid_from_node,
    node_from_volume,
    point_to_world,
    read_segment,
)
from SAM2Medical3DLib.mrml.prompts.placing import placing_node
from SAM2Medical3DLib.mrml.segments.labelmaps import labelmap_from_mask
from SAM2Medical3DLib.mrml.slice_views import show_slice
from SAM2Medical3DLib.mrml.workbench import Workbench
from SAM2Medical3DLib.prompts import Prompts
from SAM2Medical3DLib.propagation import ObjectResult, Propagator, SliceResult, Span
from SAM2Medical3DLib.propagation.base import EVERYWHERE
from SAM2Medical3DLib.session.worker import Worker
from SAM2Medical3DLib.volume import SliceStack, Volume

TRUTH = blob_truth()
ORIENTATIONS = {Plane.AXIAL: "Axial", Plane.CORONAL: "Coronal", Plane.SAGITTAL: "Sagittal"}


class ThresholdPropagator:
    """Finds bright pixels near each slice's positive points or box; a mask goes on as it is.

    Stands for a model where only the flow of results matters. ``slow`` is called for each slice.
    """

    def __init__(self, slow: object = None) -> None:
        self.slow = slow or (lambda: None)

    def predict_slice(
        self, stack: SliceStack, prompts: Prompts, index: int, *, views: object = None
    ) -> SliceResult:
        found = {}
        for object_id, slices in prompts.by_object.items():
            found[object_id] = self._result(stack, index, slices[index])
        return SliceResult(index, found)

    def propagate(
        self, stack: SliceStack, prompts: Prompts, span: Span = EVERYWHERE, *,
        with_logits: bool = False, views: object = None,
    ) -> Iterator[SliceResult]:  # fmt: skip
        first, last = span.limits(len(stack))
        ((object_id, slices),) = prompts.by_object.items()
        nearest_first = sorted(
            range(first, last + 1), key=lambda s: min(abs(s - p) for p in slices)
        )
        for index in nearest_first:
            self.slow()
            prompt = slices.get(index)
            mask = stack.frame(index) > 128 if prompt is None else prompt.mask
            score = 0.5 if index % 5 == 0 else 0.9
            yield SliceResult(index, {object_id: ObjectResult(mask, score, 0.9)})

    def _result(self, stack: SliceStack, index: int, prompt: object) -> ObjectResult:
        mask = stack.frame(index) > 128
        near = np.zeros_like(mask)
        for point in prompt.points:
            rows, cols = np.ogrid[: mask.shape[0], : mask.shape[1]]
            close = np.hypot(rows - point.row, cols - point.col) < 20
            near = near | close if point.positive else near & ~close
        if prompt.box is not None:
            box = prompt.box
            near[int(box.row0) : int(box.row1) + 1, int(box.col0) : int(box.col1) + 1] = True
        if prompt.prior is not None:
            near |= prompt.prior > 0
        return ObjectResult(mask & near, 0.9, 0.95)


class User:
    """Somebody at the screen: volume, segmentation, three views, and a workbench on them."""

    def __init__(
        self, propagator: Propagator | None = None, matrix: np.ndarray | None = None, **options
    ) -> None:
        self.scene = slicer.vtkMRMLScene()
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self.scene)
        logic = slicer.vtkSlicerSegmentationsModuleLogic()
        logic.SetMRMLScene(self.scene)
        self._logic = logic
        noise = np.random.default_rng(0).normal(0, 8, TRUTH.shape)
        array = (np.where(TRUTH, 150, 75) + noise).clip(0, 255).astype(np.uint8)
        matrix = np.diag([-1.0, -1.0, 2.0, 1.0]) if matrix is None else matrix
        grid = Grid(array.shape[::-1], matrix)
        self.volume = node_from_volume(self.scene, Volume(array, grid, "ct", (0, 255)))
        self.segmentation = self.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "seg")
        self.segmentation.CreateDefaultDisplayNodes()
        self.views = {plane: self._view(plane) for plane in Plane}
        self.propagator = propagator or ThresholdPropagator()
        self.worker = Worker()
        self.bench = self.open(**options)

    def open(self, **options: object) -> Workbench:
        """A workbench on the same nodes, as after the panel was opened again."""
        self.bench = Workbench(
            self.volume,
            self.segmentation,
            self.propagator,
            self.worker,
            window="128/255",
            **options,
        )
        return self.bench

    def close(self) -> None:
        self.bench.close()
        self.worker.close()

    def geometry(self, plane: Plane = Plane.AXIAL) -> StackGeometry:
        return StackGeometry(grid_from_node(self.volume), plane)

    def look_at(self, index: int, plane: Plane = Plane.AXIAL) -> slicer.vtkMRMLSliceNode:
        """Scroll a view to a slice."""
        show_slice(self.views[plane], self.geometry(plane), index)
        return self.views[plane]

    def click(
        self, index: int, row: float, col: float, positive: bool = True, plane: Plane = Plane.AXIAL
    ) -> None:
        """Take the tool, click in a view, put the tool down, and wait for the live mask."""
        self.place(index, row, col, positive, plane)
        self.bench.wait()

    def place(
        self, index: int, row: float, col: float, positive: bool = True, plane: Plane = Plane.AXIAL
    ) -> None:
        self.look_at(index, plane)
        self.bench.start_tool("positive" if positive else "negative")
        world = point_to_world(self.geometry(plane), index, row, col)
        node = placing_node(self.scene)
        node.AddControlPointWorld(world)
        self.bench.stop_tool()

    def box(self, index: int, corners: tuple[float, float, float, float]) -> None:
        """Draw a box on an axial slice by its opposite corners, and wait for the live mask."""
        self.look_at(index)
        self.bench.start_tool("box")
        roi = placing_node(self.scene)
        for row, col in (corners[:2], corners[2:]):
            roi.AddControlPointWorld(point_to_world(self.geometry(), index, row, col))
        self.bench.stop_tool()
        self.bench.wait()

    def paint(self, segment: str, masks: dict[int, np.ndarray], plane: Plane = Plane.AXIAL) -> None:
        """Replace slices of a segment as Segment Editor does."""
        geometry = self.geometry(plane)
        whole = np.array(geometry.to_stack(self.voxels(segment)))
        for index, mask in masks.items():
            whole[index] = mask
        labelmap = labelmap_from_mask(
            geometry.from_stack(whole), grid_from_node(self.volume, self.segmentation)
        )
        logic = slicer.vtkSlicerSegmentationsModuleLogic
        assert logic.SetBinaryLabelmapToSegment(
            labelmap, self.segmentation, segment, logic.MODE_REPLACE
        )

    def voxels(self, segment: str) -> np.ndarray:
        """(K, J, I) bool."""
        return read_segment(self.segmentation, segment, self.volume)

    def slices(self, segment: str | None = None, plane: Plane = Plane.AXIAL) -> np.ndarray:
        """(slice, row, column) bool of a segment, the selected one if None."""
        return np.array(self.geometry(plane).to_stack(self.voxels(segment or self.bench.selected)))

    def add_segment(self, name: str, mask: np.ndarray | None = None) -> str:
        """Another segment, of (slice, row, column) axial voxels."""
        id_ = self.segmentation.GetSegmentation().AddEmptySegment(name, name)
        if mask is not None:
            self.paint(id_, dict(enumerate(mask)))
        return id_

    def _view(self, plane: Plane) -> slicer.vtkMRMLSliceNode:
        node = self.scene.AddNewNodeByClass("vtkMRMLSliceNode", plane.value)
        node.SetLayoutName(plane.value)
        getattr(node, f"SetOrientationTo{ORIENTATIONS[plane]}")()
        node.SetDimensions(200, 200, 1)
        node.SetFieldOfView(200, 200, 1)
        return node


__all__ = ["TRUTH", "Masking", "ThresholdPropagator", "User"]
