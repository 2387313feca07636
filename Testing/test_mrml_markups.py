"""Points and ROIs of the markups module to prompts, and back to the world."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import slicer
from hypothesis import given, settings
from hypothesis import strategies as st

from mrml_scenes import SHAPE, affines, ijk_to_ras, put_under, rigid_matrices  # noqa: E402
from SAM2Medical3DLib.errors import UserError  # noqa: E402
from SAM2Medical3DLib.geometry import Grid, Plane, StackGeometry  # noqa: E402
from SAM2Medical3DLib.mrml import point_to_world, prompts_from_markups  # noqa: E402
from SAM2Medical3DLib.prompts import Box, Point, Prompts  # noqa: E402


def stack(matrix: np.ndarray, plane: Plane = Plane.AXIAL) -> StackGeometry:
    return StackGeometry(Grid(SHAPE[::-1], matrix), plane)


def fiducials(
    scene: slicer.vtkMRMLScene, *points: tuple[float, float, float]
) -> slicer.vtkMRMLMarkupsFiducialNode:
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "F")
    for point in points:
        node.AddControlPointWorld(point)
    return node


def roi_of_world_box(
    scene: slicer.vtkMRMLScene, axes: np.ndarray, centre: np.ndarray, size: np.ndarray
) -> slicer.vtkMRMLMarkupsROINode:
    """An ROI whose own axes are the columns of a (3, 3) rotation."""
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    node = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "R")
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = axes, centre
    vtk_matrix = vtkMatrix4x4()
    vtk_matrix.DeepCopy(matrix.ravel())
    node.SetSize(*size)
    node.SetAndObserveObjectToNodeMatrix(vtk_matrix)
    return node


@pytest.fixture
def scene() -> slicer.vtkMRMLScene:
    return slicer.vtkMRMLScene()


@settings(max_examples=25, deadline=None)
@given(
    affines(),
    st.sampled_from(Plane),
    st.tuples(*[st.floats(0.02, 0.98)] * 3),
    rigid_matrices(),
)
def test_point_goes_to_its_slice_and_back(
    matrix: np.ndarray, plane: Plane, where: tuple[float, float, float], moved: np.ndarray
) -> None:
    scene = slicer.vtkMRMLScene()
    geometry = stack(matrix, plane)
    expected = np.array(where) * geometry.shape - 0.5
    world = point_to_world(geometry, *expected)
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "F")
    put_under(node, moved)
    node.AddControlPointWorld(world)
    prompts = prompts_from_markups(geometry, positive=node, object_id=4)
    prompts.check(geometry)
    ((index, prompt),) = prompts.by_object[4].items()
    assert abs(index - expected[0]) <= 0.5 + 1e-6
    (point,) = prompt.points
    assert (point.row, point.col) == pytest.approx(tuple(expected[1:]), abs=1e-6)
    assert point.positive


def test_points_of_both_kinds_meet_on_their_slices(scene: slicer.vtkMRMLScene) -> None:
    geometry = stack(ijk_to_ras())
    positive = fiducials(
        scene, point_to_world(geometry, 1.2, 2, 3), point_to_world(geometry, 3, 1, 1)
    )
    negative = fiducials(scene, point_to_world(geometry, 0.8, 4, 5))
    found = prompts_from_markups(geometry, positive, negative).by_object[1]
    assert sorted(found) == [1, 3]
    kinds = [(round(p.row), round(p.col), p.positive) for p in found[1].points]
    assert kinds == [(2, 3, True), (4, 5, False)]


def test_point_outside_is_named(scene: slicer.vtkMRMLScene) -> None:
    geometry = stack(ijk_to_ras())
    node = fiducials(scene, point_to_world(geometry, 2, 2, 2), (900, 0, 0))
    node.SetNthControlPointLabel(1, "tumour")
    with pytest.raises(UserError, match="The point tumour lies outside the volume"):
        prompts_from_markups(geometry, node)


def test_points_that_are_not_placed_are_left_out(scene: slicer.vtkMRMLScene) -> None:
    geometry = stack(ijk_to_ras())
    node = fiducials(scene, point_to_world(geometry, 2, 2, 2), (900, 0, 0))
    node.UnsetNthControlPointPosition(1)
    found = prompts_from_markups(geometry, node).by_object[1]
    assert list(found) == [2] and len(found[2].points) == 1
    node.UnsetNthControlPointPosition(0)
    with pytest.raises(UserError, match="There is no prompt"):
        prompts_from_markups(geometry, node)


def test_only_negative_points_name_their_slice(scene: slicer.vtkMRMLScene) -> None:
    geometry = stack(ijk_to_ras())
    with pytest.raises(UserError, match="Slice 3: Only negative points"):
        prompts_from_markups(geometry, negative=fiducials(scene, point_to_world(geometry, 3, 2, 2)))


@settings(max_examples=25, deadline=None)
@given(affines(), st.sampled_from(Plane), rigid_matrices())
def test_roi_along_the_volumes_axes_gives_its_rectangle(
    matrix: np.ndarray, plane: Plane, moved: np.ndarray
) -> None:
    scene = slicer.vtkMRMLScene()
    geometry = stack(matrix, plane)
    grid = geometry.grid
    axes = grid.ijk_to_ras[:3, :3] / grid.spacing
    first, last = np.array([1.2, 0.8, 1.0]), np.array([3.9, 3.4, 2.6])  # voxels
    size = (last - first) * grid.spacing
    roi = roi_of_world_box(scene, axes, grid.ras_from_ijk((first + last) / 2), size)
    corners = geometry.stack_from_ijk(np.array([first, last]))
    (index, box) = _only_box(prompts_from_markups(geometry, roi=roi))
    assert index == round(float(corners[:, 0].mean()))
    expected = Box(*corners[0, 1:], *corners[1, 1:])
    assert _values(box) == pytest.approx(_values(expected), abs=1e-6)
    # Under a transform the same box, and a volume that went along, give the same prompt.
    put_under(roi, moved)
    moved_geometry = stack(moved @ matrix, plane)
    if moved_geometry.shape == geometry.shape and np.array_equal(
        moved_geometry.ijk_from_stack_matrix, geometry.ijk_from_stack_matrix
    ):
        _, moved_box = _only_box(prompts_from_markups(moved_geometry, roi=roi))
        assert _values(moved_box) == pytest.approx(_values(expected), abs=1e-5)


def test_turned_roi_gives_the_rectangle_around_it(scene: slicer.vtkMRMLScene) -> None:
    geometry = stack(np.eye(4))
    turned = ijk_to_ras(spacing=(1, 1, 1), turn=(0, 0, 45))[:3, :3]
    centre = np.array([3.0, 2.5, 2.0])
    roi = roi_of_world_box(scene, turned, centre, np.array([2.0, 2.0, 1.0]))
    corners = [centre + turned @ (np.array(s) * (1, 1, 0.5)) for s in product((-1, 1), repeat=3)]
    rows_cols = geometry.stack_from_ijk(np.array(corners))[:, 1:]
    _, box = _only_box(prompts_from_markups(geometry, roi=roi))
    assert _values(box) == pytest.approx((*rows_cols.min(0), *rows_cols.max(0)), abs=1e-6)
    assert box.row1 - box.row0 == pytest.approx(2 * np.sqrt(2))


def test_flat_roi_is_a_box(scene: slicer.vtkMRMLScene) -> None:
    roi = roi_of_world_box(scene, np.eye(3), np.array([3.0, 2.0, 2.2]), np.array([2.0, 2.0, 0]))
    index, _ = _only_box(prompts_from_markups(stack(np.eye(4)), roi=roi))
    assert index == 2


def test_roi_is_clipped_to_the_slice(scene: slicer.vtkMRMLScene) -> None:
    geometry = stack(np.eye(4))
    roi = roi_of_world_box(scene, np.eye(3), np.array([3.0, 2, 2]), np.array([50.0, 50, 50]))
    prompts = prompts_from_markups(geometry, roi=roi)
    prompts.check(geometry)
    assert _values(_only_box(prompts)[1]) == (-0.5, -0.5, 5.5, 6.5)


def test_roi_outside_is_refused(scene: slicer.vtkMRMLScene) -> None:
    geometry = stack(np.eye(4))
    above = roi_of_world_box(scene, np.eye(3), np.array([3.0, 2, 90]), np.array([4.0, 4, 4]))
    with pytest.raises(UserError, match="centre of R lies outside"):
        prompts_from_markups(geometry, roi=above)
    beside = roi_of_world_box(scene, np.eye(3), np.array([300.0, 2, 2]), np.array([4.0, 4, 4]))
    with pytest.raises(UserError, match="R has no area on the slice"):
        prompts_from_markups(geometry, roi=beside)


def test_an_unplaced_roi_is_no_prompt(scene: slicer.vtkMRMLScene) -> None:
    roi = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "R")
    with pytest.raises(UserError, match="There is no prompt"):
        prompts_from_markups(stack(np.eye(4)), roi=roi)


def test_box_and_points_share_a_slice(scene: slicer.vtkMRMLScene) -> None:
    geometry = stack(np.eye(4))
    roi = roi_of_world_box(scene, np.eye(3), np.array([3.0, 2, 2]), np.array([2.0, 2, 2]))
    node = fiducials(scene, point_to_world(geometry, 2, 3, 3))
    found = prompts_from_markups(geometry, negative=node, roi=roi).by_object[1][2]
    assert found.box is not None
    (point,) = found.points
    assert (round(point.row), round(point.col), point.positive) == (3, 3, False)
    assert isinstance(point, Point)


def _only_box(prompts: Prompts) -> tuple[int, Box]:
    ((index, prompt),) = prompts.by_object[1].items()
    assert prompt.box is not None
    return index, prompt.box


def _values(box: Box) -> tuple[float, float, float, float]:
    return box.row0, box.col0, box.row1, box.col1
