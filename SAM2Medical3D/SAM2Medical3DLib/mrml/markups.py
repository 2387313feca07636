"""Markups that a user places in slice views to prompts in stack coordinates, and back."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import slicer

from ..errors import UserError
from ..geometry import StackGeometry
from ..prompts import Box, Point, Prompts, SlicePrompt


def prompts_from_markups(
    geometry: StackGeometry,
    positive: slicer.vtkMRMLMarkupsFiducialNode | None = None,
    negative: slicer.vtkMRMLMarkupsFiducialNode | None = None,
    roi: slicer.vtkMRMLMarkupsROINode | None = None,
    object_id: int = 1,
) -> Prompts:
    """Prompts of one object from point lists and an ROI box, wherever they are in the world.

    Each control point belongs to the slice nearest to it. The ROI becomes the rectangle around its
    corners, clipped to the slice, on the slice nearest to its centre. Parent transforms of the
    markups are respected. Control points that are not placed yet are left out.

    Args:
        geometry: the slices, in world coordinates.
        positive: points of the object.
        negative: points of the rest.
        roi: a box around the object, of any orientation.
        object_id: the object that the prompts are for.

    Raises:
        UserError: nothing is placed, a point or the ROI's centre lies outside the volume, or a
            slice has only negative points.
    """
    points: dict[int, list[Point]] = {}
    for node, is_positive in ((positive, True), (negative, False)):
        for index, row, col in _placed_points(geometry, node):
            points.setdefault(index, []).append(Point(row, col, is_positive))
    boxes = _box(geometry, roi)
    prompts = Prompts()
    for index in sorted({*points, *boxes}):
        try:
            prompt = SlicePrompt(tuple(points.get(index, ())), boxes.get(index))
        except UserError as error:
            raise UserError(f"Slice {index}: {error}") from error
        prompts = prompts.add(object_id, index, prompt)
    if not prompts.by_object:
        raise UserError("There is no prompt; place a positive point or an ROI on the object first.")
    return prompts


def point_to_world(
    geometry: StackGeometry, slice_: float, row: float, col: float
) -> tuple[float, float, float]:
    """Stack coordinates (slice, row, column) to world RAS millimetres."""
    ras = geometry.grid.ras_from_ijk(geometry.ijk_from_stack(np.array([slice_, row, col])))
    return tuple(float(value) for value in ras)


def _stack_from_world(geometry: StackGeometry, ras: np.ndarray) -> np.ndarray:
    """(..., 3) world RAS to (..., 3) slice, row and column."""
    return geometry.stack_from_ijk(geometry.grid.ijk_from_ras(ras))


def _placed_points(
    geometry: StackGeometry, node: slicer.vtkMRMLMarkupsNode | None
) -> Iterator[tuple[int, float, float]]:
    if node is None:
        return
    for number in range(node.GetNumberOfControlPoints()):
        if node.GetNthControlPointPositionStatus(number) != node.PositionDefined:
            continue
        position = [0.0, 0.0, 0.0]
        node.GetNthControlPointPositionWorld(number, position)
        ijk = geometry.grid.ijk_from_ras(np.array(position))
        if not geometry.grid.contains(ijk):
            label = node.GetNthControlPointLabel(number) or f"{node.GetName()} {number + 1}"
            raise UserError(
                f"The point {label} lies outside the volume; move it onto the object or delete it."
            )
        slice_, row, col = geometry.stack_from_ijk(ijk)
        yield _nearest_slice(geometry, slice_), float(row), float(col)


def _box(geometry: StackGeometry, roi: slicer.vtkMRMLMarkupsROINode | None) -> dict[int, Box]:
    """{slice: box} of an ROI; empty without one, or when it is not placed yet."""
    if roi is None or min(roi.GetSize()) < 0 or not any(roi.GetSize()):
        return {}
    half = np.array(roi.GetSize()) / 2
    corners = np.array([half * signs for signs in product((-1, 1), repeat=3)])
    stack = _stack_from_world(geometry, np.array([_roi_to_world(roi, c) for c in corners]))
    centre = _stack_from_world(geometry, _roi_to_world(roi, np.zeros(3)))
    name = roi.GetName() or "The ROI"
    n_slices, height, width = geometry.shape
    if not -0.5 <= centre[0] < n_slices - 0.5:
        raise UserError(f"The centre of {name} lies outside the volume; move it onto the object.")
    (row0, col0), (row1, col1) = stack[:, 1:].min(axis=0), stack[:, 1:].max(axis=0)
    rows = np.clip([row0, row1], -0.5, height - 0.5)
    cols = np.clip([col0, col1], -0.5, width - 0.5)
    if rows[0] == rows[1] or cols[0] == cols[1]:
        raise UserError(f"{name} has no area on the slice; draw it around the object.")
    return {_nearest_slice(geometry, centre[0]): Box(rows[0], cols[0], rows[1], cols[1])}


def _roi_to_world(roi: slicer.vtkMRMLMarkupsROINode, point: np.ndarray) -> np.ndarray:
    """A point of the ROI's own axes (its centre is the origin) in world RAS."""
    in_node = roi.GetObjectToNodeMatrix().MultiplyPoint((*point, 1.0))[:3]
    world = [0.0, 0.0, 0.0]
    roi.TransformPointToWorld(in_node, world)
    return np.array(world)


def _nearest_slice(geometry: StackGeometry, slice_: float) -> int:
    # A point exactly on the outer face would round up to a slice that is not there.
    return int(np.clip(np.floor(slice_ + 0.5), 0, geometry.shape[0] - 1))
