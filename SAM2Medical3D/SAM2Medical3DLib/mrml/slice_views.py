"""What slice views show, and in which of them a markup was placed."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import slicer

from ..geometry import Grid, Plane, StackGeometry
from .nodes import nodes_of_class
from .prompts.markups import nearest_slice, point_to_world, roi_corners, roi_plane, stack_from_world
from .transforms import to_numpy

# Many scanners tilt their slices by a fraction of a degree against the patient's axes, which views
# look along at first. Prompts in such a view go to the slices they are on, which towards its edges
# may be neighbours of the slice in its middle.
_OBLIQUE_DEGREES = 1.0
_IN_VIEW_MM = 1e-2  # what is placed in a view is on its plane, within rounding


def view_plane(slice_node: slicer.vtkMRMLSliceNode, grid: Grid) -> Plane | None:
    """Along which axis of the voxels a view looks; None if oblique to it by more than a degree.

    How the view is turned about this axis does not matter.

    Args:
        slice_node: the view.
        grid: voxels, in world coordinates.
    """
    looks_along = _matrix(slice_node)[:3, 2]
    normals = grid.ras_to_ijk[:3, :3]  # rows are normal to the other two axes
    normals = normals / np.linalg.norm(normals, axis=1, keepdims=True)
    # From the sine: a cosine hardly changes about 0 degrees.
    sines = np.linalg.norm(np.cross(normals, looks_along), axis=1)
    axis = int(np.argmin(sines))
    if sines[axis] > np.sin(np.radians(_OBLIQUE_DEGREES)):
        return None
    return grid.plane_of(axis)


def view_slice(slice_node: slicer.vtkMRMLSliceNode, geometry: StackGeometry) -> int | None:
    """The slice that a view shows in its middle.

    None outside the volume, and for a view that is oblique or looks along another axis.
    """
    if view_plane(slice_node, geometry.grid) is not geometry.plane:
        return None
    slice_ = stack_from_world(geometry, _matrix(slice_node)[:3, 3])[0]
    if not -0.5 <= slice_ < geometry.shape[0] - 0.5:
        return None
    return nearest_slice(geometry, slice_)


def show_slice(slice_node: slicer.vtkMRMLSliceNode, geometry: StackGeometry, index: int) -> None:
    """Scroll a view to the middle of a slice; what it shows of the slice stays in place.

    A view that looks along another axis is scrolled to the middle of this slice too.
    """
    _, row, col = stack_from_world(geometry, _matrix(slice_node)[:3, 3])
    if view_plane(slice_node, geometry.grid) is not geometry.plane:
        _, row, col = (np.array(geometry.shape) - 1) / 2
    slice_node.JumpSliceByOffsetting(*point_to_world(geometry, index, row, col))


def rotate_to_volume(
    slice_node: slicer.vtkMRMLSliceNode, volume_node: slicer.vtkMRMLVolumeNode
) -> None:
    """Turn a view to the nearest axis of a volume's voxels, as Slicer's own command does."""
    slice_node.RotateToVolumePlane(volume_node)


def plane_of_point(
    markups_node: slicer.vtkMRMLMarkupsNode,
    index: int,
    grid: Grid,
    slice_nodes: Iterable[slicer.vtkMRMLSliceNode],
) -> Plane | None:
    """Along which axis the view looks that a control point was placed in.

    Slicer stores no orientation with a point that is placed in a slice view. So it is the axis of
    the view that the point is in; if it is in several along different axes, then that of the one
    under the mouse.

    Args:
        markups_node: points.
        index: number of the control point.
        grid: voxels, in world coordinates.
        slice_nodes: views that it may have been placed in.

    Returns:
        None if the point is in no view, or in one that is oblique.
    """
    position = [0.0, 0.0, 0.0]
    markups_node.GetNthControlPointPositionWorld(index, position)
    return _plane_through(np.array(position), grid, slice_nodes, markups_node.GetScene())


def oblique_view_of_point(
    markups_node: slicer.vtkMRMLMarkupsNode,
    index: int,
    grid: Grid,
    slice_nodes: Iterable[slicer.vtkMRMLSliceNode],
) -> slicer.vtkMRMLSliceNode | None:
    """The oblique view that a control point was placed in; None if it was placed in another.

    Arguments as for :func:`plane_of_point`.
    """
    position = [0.0, 0.0, 0.0]
    markups_node.GetNthControlPointPositionWorld(index, position)
    views = [view for view in slice_nodes if _distance(view, np.array(position)) <= _IN_VIEW_MM]
    if len(views) > 1:
        under_mouse = _view_under_mouse(markups_node.GetScene())
        views = [view for view in views if view is under_mouse]
    oblique = [view for view in views if view_plane(view, grid) is None]
    return oblique[0] if oblique else None


def plane_of_box(roi: slicer.vtkMRMLMarkupsROINode, grid: Grid) -> Plane | None:
    """Along which axis the slice of a box is; also of one that is just being drawn.

    It is known of a box that was flattened, and seen of one that is about a slice thick. A box that
    has just been drawn may be as thick as its shorter side is long: then it is the axis of the
    slice view that it was drawn in, found as in :func:`plane_of_point`.

    Returns:
        None for a box that is thick in every direction and in no view, and for an oblique view.
    """
    if roi_plane(roi) is not None:
        return roi_plane(roi)
    corners = grid.ijk_from_ras(roi_corners(roi))
    voxels = np.ptp(corners, axis=0)
    thinnest, next_, _ = np.argsort(voxels * grid.spacing)
    # One that was just drawn is nothing thick, or exactly as thick as its shorter side is long.
    differs = (voxels * grid.spacing)[next_] - (voxels * grid.spacing)[thinnest] > _IN_VIEW_MM
    if differs and voxels[thinnest] < 1.01:
        return grid.plane_of(int(thinnest))
    if roi.GetNumberOfControlPoints() == 0 or roi.GetScene() is None:
        return None
    return _plane_through(grid.ras_from_ijk(corners.mean(axis=0)), grid, None, roi.GetScene())


def central_slice(geometry: StackGeometry, mask: np.ndarray | None = None) -> int:
    """The slice to begin with.

    Args:
        geometry: the slices.
        mask: (slice, row, column) bool of an object, or None.

    Returns:
        The slice where the object is largest, of several the one nearest to its middle; the middle
        of the volume without an object.
    """
    areas = np.zeros(0) if mask is None else np.count_nonzero(mask, axis=(1, 2))
    filled = np.flatnonzero(areas)
    if not filled.size:
        return geometry.shape[0] // 2
    middle = (filled[0] + filled[-1]) / 2
    largest = np.flatnonzero(areas == areas.max())
    return int(largest[np.argmin(np.abs(largest - middle))])


def _plane_through(
    point: np.ndarray,
    grid: Grid,
    slice_nodes: Iterable[slicer.vtkMRMLSliceNode] | None,
    scene: slicer.vtkMRMLScene | None,
) -> Plane | None:
    """The axis of the view that a world point is in; without views, of all views in the scene."""
    if slice_nodes is None:
        slice_nodes = nodes_of_class(scene, "vtkMRMLSliceNode")
    views = [view for view in slice_nodes if _distance(view, point) <= _IN_VIEW_MM]
    planes = {view_plane(view, grid) for view in views}
    if len(planes) > 1:
        under_mouse = _view_under_mouse(scene)
        planes = {view_plane(view, grid) for view in views if view is under_mouse}
    return planes.pop() if len(planes) == 1 else None


def _distance(slice_node: slicer.vtkMRMLSliceNode, point: np.ndarray) -> float:
    matrix = _matrix(slice_node)
    return abs(float((point - matrix[:3, 3]) @ matrix[:3, 2]))


def _view_under_mouse(scene: slicer.vtkMRMLScene | None) -> slicer.vtkMRMLSliceNode | None:
    """The slice view that the mouse is over, as Slicer's crosshair knows it."""
    crosshair = None if scene is None else scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    return None if crosshair is None else crosshair.GetCursorPositionXYZ([0.0, 0.0, 0.0])


def _matrix(slice_node: slicer.vtkMRMLSliceNode) -> np.ndarray:
    """(4, 4) from the view's plane, whose origin is its middle, to the world."""
    return to_numpy(slice_node.GetSliceToRAS())
