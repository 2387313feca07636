"""Markups that a user places in slice views to prompts in stack coordinates, and back."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
import slicer

from ...errors import UserError
from ...geometry import Plane, StackGeometry
from ...prompts import Box, Point, Prompts, SlicePrompt
from ..transforms import to_numpy, to_vtk

# An ROI does not know along which axis its slices are stacked; kept and saved with it.
_PLANE_ATTRIBUTE = "SAM2Medical3D.Plane"
_SAME_MM = 1e-4  # Slicer calculates an ROI's centre in single precision
_ROUNDING = 1e-6  # voxels
_ROUNDING_OF_ROI = 1e-4


class PlacedPoint(NamedTuple):
    """A control point that is placed; ``index`` is None outside the volume.

    ``number`` is its number in the node, ``row`` and ``col`` are pixels of slice ``index``.
    """

    number: int
    index: int | None
    row: float
    col: float


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
        if node is not None:
            for index, point in points_of_node(geometry, node, is_positive):
                points.setdefault(index, []).append(point)
    boxes = dict([box_of_roi(geometry, roi)]) if roi is not None and is_placed(roi) else {}
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


def stack_from_world(geometry: StackGeometry, ras: np.ndarray) -> np.ndarray:
    """(..., 3) world RAS millimetres to (..., 3) slice, row and column."""
    return geometry.stack_from_ijk(geometry.grid.ijk_from_ras(ras))


def nearest_slice(geometry: StackGeometry, slice_: float, rounding: float = _ROUNDING) -> int:
    """The slice nearest to a stack coordinate; half way between two it is the lower one.

    Args:
        geometry: the slices.
        slice_: a coordinate inside the volume.
        rounding: what the coordinate may be off by. A view half way between two slices is common,
            and all that is placed in it has to go to the same one.
    """
    # A point exactly on the outer face would round to a slice that is not there.
    return int(np.clip(np.floor(slice_ + 0.5 - rounding), 0, geometry.shape[0] - 1))


def placed_points(
    geometry: StackGeometry, node: slicer.vtkMRMLMarkupsNode
) -> Iterator[PlacedPoint]:
    """Control points that are placed (neither previewed nor unset), in the order of the node."""
    for number in range(node.GetNumberOfControlPoints()):
        if node.GetNthControlPointPositionStatus(number) != node.PositionDefined:
            continue
        position = [0.0, 0.0, 0.0]
        node.GetNthControlPointPositionWorld(number, position)
        stack = stack_from_world(geometry, np.array(position))
        # A prompt on the very edge of a slice is still on it when it has gone through the world.
        nearest = np.clip(stack, -0.5, np.array(geometry.shape) - 0.5)
        inside = np.abs(nearest - stack).max() <= _ROUNDING
        index = nearest_slice(geometry, nearest[0]) if inside else None
        row, col = (float(value) for value in nearest[1:])
        yield PlacedPoint(number, index, row, col)


def points_of_node(
    geometry: StackGeometry, node: slicer.vtkMRMLMarkupsNode, positive: bool
) -> Iterator[tuple[int, Point]]:
    """Slice index and click of every placed control point.

    Raises:
        UserError: one lies outside the volume.
    """
    for number, index, row, col in placed_points(geometry, node):
        if index is None:
            label = node.GetNthControlPointLabel(number) or f"{node.GetName()} {number + 1}"
            raise UserError(f"The point {label} lies outside the volume; click on the object.")
        yield index, Point(row, col, positive)


def is_placed(roi: slicer.vtkMRMLMarkupsROINode) -> bool:
    """Whether an ROI has both its corners: neither fresh nor between the two clicks."""
    n = roi.GetNumberOfControlPoints()
    defined = roi.GetNumberOfDefinedControlPoints()
    # Slicer asks for two points until both are there, and then puts one in the centre instead.
    return n == defined >= max(roi.GetRequiredNumberOfControlPoints(), 1) and any(roi.GetSize())


def roi_corners(roi: slicer.vtkMRMLMarkupsROINode) -> np.ndarray:
    """(8, 3) corners of an ROI in world RAS millimetres."""
    half = np.array(roi.GetSize()) / 2
    return np.array([_roi_to_world(roi, half * s) for s in product((-1, 1), repeat=3)])


def box_of_roi(geometry: StackGeometry, roi: slicer.vtkMRMLMarkupsROINode) -> tuple[int, Box]:
    """The slice nearest to the centre of a placed ROI, and the rectangle around it there.

    Raises:
        UserError: its centre lies outside the volume, or it has no area on the slice.
    """
    stack = stack_from_world(geometry, roi_corners(roi))
    centre = stack_from_world(geometry, _roi_to_world(roi, np.zeros(3)))[0]
    name = roi.GetName() or "The ROI"
    n_slices, height, width = geometry.shape
    if not -0.5 <= centre < n_slices - 0.5:
        raise UserError(f"The centre of {name} lies outside the volume; move it onto the object.")
    (row0, col0), (row1, col1) = stack[:, 1:].min(axis=0), stack[:, 1:].max(axis=0)
    rows = np.clip([row0, row1], -0.5, height - 0.5)
    cols = np.clip([col0, col1], -0.5, width - 0.5)
    if rows[0] == rows[1] or cols[0] == cols[1]:
        raise UserError(f"{name} has no area on the slice; draw it around the object.")
    index = nearest_slice(geometry, centre, _ROUNDING_OF_ROI)
    return index, Box(rows[0], cols[0], rows[1], cols[1])


def shape_roi(
    roi: slicer.vtkMRMLMarkupsROINode, geometry: StackGeometry, index: int, box: Box
) -> None:
    """Make an ROI this rectangle of a slice: one slice thick, its X along columns, Y along rows.

    It leaves its parent transform, if it has one, and keeps the plane for :func:`roi_plane`. One
    that is like this already is not touched.
    """
    matrix = np.eye(4)
    matrix[:3, :3] = _slice_axes(geometry)
    middle = (box.row0 + box.row1) / 2, (box.col0 + box.col1) / 2
    matrix[:3, 3] = point_to_world(geometry, index, *middle)
    between, down, across = geometry.spacing
    size = (box.col1 - box.col0) * across, (box.row1 - box.row0) * down, between
    if (
        roi_plane(roi) is geometry.plane
        and roi.GetParentTransformNode() is None
        and np.allclose(roi.GetSize(), size, rtol=0, atol=_SAME_MM)
        and np.allclose(to_numpy(roi.GetObjectToNodeMatrix()), matrix, rtol=0, atol=_SAME_MM)
    ):
        return
    was_modifying = roi.StartModify()
    try:
        roi.SetAndObserveTransformNodeID(None)
        roi.SetSize(*size)
        roi.SetAndObserveObjectToNodeMatrix(to_vtk(matrix))
        roi.SetAttribute(_PLANE_ATTRIBUTE, geometry.plane.value)
    finally:
        roi.EndModify(was_modifying)


def roi_plane(roi: slicer.vtkMRMLMarkupsROINode) -> Plane | None:
    """The plane of the slices that :func:`shape_roi` aligned an ROI with, if it did."""
    kept = roi.GetAttribute(_PLANE_ATTRIBUTE)
    return Plane(kept) if kept in tuple(Plane) else None


def align_roi(roi: slicer.vtkMRMLMarkupsROINode, axes: np.ndarray) -> None:
    """Turn an ROI that is still to be placed; ``axes`` are (3, 3) world directions as columns."""
    matrix = np.eye(4)
    # Slicer expects a rotation: a third axis that is none would be turned round in the widgets.
    matrix[:3, :3] = _rotation(axes[:, 0], axes[:, 1])
    roi.SetAndObserveObjectToNodeMatrix(to_vtk(matrix))


def _slice_axes(geometry: StackGeometry) -> np.ndarray:
    """(3, 3) world directions of columns, rows and the slice normal, as a rotation."""
    stack_axes = geometry.grid.ijk_to_ras[:3, :3] @ geometry.ijk_from_stack_matrix[:3, :3]
    return _rotation(stack_axes[:, 2], stack_axes[:, 1])


def _rotation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x = x / np.linalg.norm(x)
    y = y - (y @ x) * x
    y = y / np.linalg.norm(y)
    return np.column_stack([x, y, np.cross(x, y)])


def _roi_to_world(roi: slicer.vtkMRMLMarkupsROINode, point: np.ndarray) -> np.ndarray:
    """A point of the ROI's own axes (its centre is the origin) in world RAS."""
    in_node = roi.GetObjectToNodeMatrix().MultiplyPoint((*point, 1.0))[:3]
    world = [0.0, 0.0, 0.0]
    roi.TransformPointToWorld(in_node, world)
    return np.array(world)
