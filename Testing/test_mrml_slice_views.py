"""Slice views and voxels: what a view shows, and in which view something was placed."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from mrml_scenes import SHAPE, add_volume, affines, ijk_to_ras, put_under, rigid_matrices
from SAM2Medical3DLib.geometry import Grid, Plane, StackGeometry
from SAM2Medical3DLib.mrml import grid_from_node, point_to_world
from SAM2Medical3DLib.mrml.prompts.prompt_nodes import PromptNodes
from SAM2Medical3DLib.mrml.slice_views import (
    central_slice,
    plane_of_box,
    plane_of_point,
    rotate_to_volume,
    show_slice,
    view_plane,
    view_slice,
)
from SAM2Medical3DLib.mrml.transforms import to_numpy

GEOMETRY = StackGeometry(Grid(SHAPE[::-1], ijk_to_ras()), Plane.AXIAL)


@pytest.fixture
def scene() -> slicer.vtkMRMLScene:
    return slicer.vtkMRMLScene()


def add_view(scene: slicer.vtkMRMLScene, plane: Plane) -> slicer.vtkMRMLSliceNode:
    """A slice view along one of the patient's axes, as Slicer starts with."""
    if not scene.GetNumberOfNodesByClass("vtkMRMLSliceNode"):
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    node = scene.CreateNodeByClass("vtkMRMLSliceNode")
    node.UnRegister(None)
    node.SetLayoutName(f"{plane.value} {scene.GetNumberOfNodes()}")
    scene.AddNode(node)
    node.SetDimensions(200, 160, 1)
    node.SetFieldOfView(100, 80, 1)
    assert node.SetOrientation(plane.value.capitalize())
    return node


def tilt(view: slicer.vtkMRMLSliceNode, degrees: float, axis: str = "x") -> None:
    """Turn a view about one of its own axes."""
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler(axis, degrees, degrees=True).as_matrix()
    view.GetSliceToRAS().DeepCopy((to_numpy(view.GetSliceToRAS()) @ turn).ravel())
    view.UpdateMatrices()


def world_of_pixel(view: slicer.vtkMRMLSliceNode, x: float, y: float) -> np.ndarray:
    return (to_numpy(view.GetXYToRAS()) @ (x, y, 0, 1))[:3]


planes = st.sampled_from(Plane)


@settings(max_examples=60, deadline=None)
@given(affines(), planes, planes, st.floats(-180, 180), st.none() | rigid_matrices())
def test_a_rotated_view_scrolls_to_every_slice(
    matrix: np.ndarray, plane: Plane, start: Plane, spin: float, moved: np.ndarray | None
) -> None:
    scene = slicer.vtkMRMLScene()
    volume = add_volume(scene, matrix)
    if moved is not None:
        put_under(volume, moved)
    grid = grid_from_node(volume)
    view = add_view(scene, start)
    tilt(view, 20.0)
    tilt(view, spin, "z")
    rotate_to_volume(view, volume)
    plane = view_plane(view, grid)
    assert plane is not None
    tilt(view, spin, "z")  # about what it looks along: that changes nothing
    assert view_plane(view, grid) is plane
    geometry = StackGeometry(grid, plane)
    view.JumpSliceByCentering(*point_to_world(geometry, 0, 0.3, 1.2))
    for index in (*range(geometry.shape[0]), 0):
        show_slice(view, geometry, index)
        assert view_slice(view, geometry) == index
        shown = geometry.stack_from_ijk(grid.ijk_from_ras(world_of_pixel(view, 100, 80)))
        assert shown == pytest.approx((index, 0.3, 1.2), abs=1e-3)
    for other in set(Plane) - {plane}:
        assert view_slice(view, StackGeometry(grid, other)) is None


@settings(max_examples=30, deadline=None)
@given(affines(), planes, st.floats(0, 180), st.floats(-40, 40))
def test_an_oblique_view_is_recognised(
    matrix: np.ndarray, start: Plane, about: float, degrees: float
) -> None:
    scene = slicer.vtkMRMLScene()
    volume = add_volume(scene, matrix)
    view = add_view(scene, start)
    rotate_to_volume(view, volume)
    plane = view_plane(view, grid_from_node(volume))
    tilt(view, about, "z")
    tilt(view, degrees)
    expected = plane if abs(degrees) < 1 else None
    if abs(abs(degrees) - 1) > 0.01:
        assert view_plane(view, grid_from_node(volume)) is expected


def test_a_slightly_tilted_view_shows_the_slice_in_its_middle(scene: slicer.vtkMRMLScene) -> None:
    geometry = StackGeometry(Grid((50, 40, 30), ijk_to_ras(turn=(0.7, 0, 0))), Plane.AXIAL)
    view = add_view(scene, Plane.AXIAL)
    view.JumpSliceByCentering(*point_to_world(geometry, 0, 35, 10))
    for index in (7, 0, 29):
        show_slice(view, geometry, index)
        assert view_slice(view, geometry) == index


def test_no_slice_outside_and_the_lower_one_half_way(scene: slicer.vtkMRMLScene) -> None:
    view = add_view(scene, Plane.AXIAL)
    for slice_, expected in ((-0.6, None), (-0.4, 0), (1.5, 1), (4.4, 4), (4.6, None)):
        view.JumpSliceByOffsetting(*point_to_world(GEOMETRY, slice_, 2, 2))
        assert view_slice(view, GEOMETRY) == expected
    show_slice(view, StackGeometry(GEOMETRY.grid, Plane.CORONAL), 1)  # of another axis: its middle
    assert view_slice(view, GEOMETRY) == 2


@pytest.mark.parametrize("plane", Plane)
def test_a_points_view_is_the_one_it_is_in(scene: slicer.vtkMRMLScene, plane: Plane) -> None:
    grid = GEOMETRY.grid
    views = {one: add_view(scene, one) for one in Plane}
    for number, (one, view) in enumerate(views.items()):
        show_slice(view, StackGeometry(grid, one), number)
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    node.AddControlPointWorld(world_of_pixel(views[plane], 91, 77))
    node.AddControlPointWorld((500.0, 500.0, 500.0))
    assert plane_of_point(node, 0, grid, views.values()) is plane
    assert plane_of_point(node, 1, grid, views.values()) is None
    others = [view for one, view in views.items() if one is not plane]
    assert plane_of_point(node, 0, grid, others) is None
    tilt(views[plane], 5)
    assert plane_of_point(node, 0, grid, views.values()) is None


def test_where_views_cross_the_mouse_decides(scene: slicer.vtkMRMLScene) -> None:
    grid = GEOMETRY.grid
    views = {one: add_view(scene, one) for one in Plane}
    middle = point_to_world(GEOMETRY, 2, 3, 3)
    for view in views.values():
        view.JumpSliceByOffsetting(*middle)
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    node.AddControlPointWorld(middle)
    assert plane_of_point(node, 0, grid, views.values()) is None
    crosshair = scene.AddNewNodeByClass("vtkMRMLCrosshairNode")
    for one, view in views.items():
        crosshair.SetCursorPositionXYZ([10.0, 10.0, 0.0], view)
        assert plane_of_point(node, 0, grid, views.values()) is one
    second = add_view(scene, Plane.CORONAL)
    second.JumpSliceByOffsetting(*middle)
    crosshair.SetCursorPositionInvalid()
    assert plane_of_point(node, 0, grid, [views[Plane.CORONAL], second]) is Plane.CORONAL


@pytest.mark.parametrize("plane", Plane)
@pytest.mark.parametrize("turn", [(0, 0, 0), (13, -8, 21)])
@pytest.mark.parametrize(("height", "width"), [(1.0, 3.0), (2.5, 0.7), (3.0, 3.0)])
def test_a_boxs_view_is_the_one_it_was_drawn_in(
    scene: slicer.vtkMRMLScene, plane: Plane, turn: tuple, height: float, width: float
) -> None:
    volume = add_volume(scene, ijk_to_ras(order=(2, 0, 1), spacing=(0.8, 1.5, 4), turn=turn))
    geometry = StackGeometry(grid_from_node(volume), plane)
    views = {one: add_view(scene, one) for one in Plane}
    for one, view in views.items():
        rotate_to_volume(view, volume)
        show_slice(view, StackGeometry(geometry.grid, one), 1)
    seg = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    prompts = PromptNodes(seg, "liver")
    roi = prompts.new_box(geometry.grid)
    assert plane_of_box(roi, geometry.grid) is None
    roi.AddControlPointWorld(point_to_world(geometry, 1, 1.3, 1.2))
    assert plane_of_box(roi, geometry.grid) is plane  # between the clicks
    roi.AddControlPointWorld(point_to_world(geometry, 1, 1.3 + height, 1.2 + width))
    assert plane_of_box(roi, geometry.grid) is plane
    prompts.flatten_box(roi, geometry)
    for view in views.values():
        view.JumpSliceByOffsetting(900.0, 900.0, 900.0)
    assert plane_of_box(roi, geometry.grid) is plane  # wherever the views are
    roi.RemoveAttribute("SAM2Medical3D.Plane")
    if min(height * geometry.spacing[1], width * geometry.spacing[2]) > geometry.spacing[0]:
        assert plane_of_box(roi, geometry.grid) is plane  # for it is thin


def test_a_thick_box_has_no_plane(scene: slicer.vtkMRMLScene) -> None:
    roi = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    roi.SetSize(20.0, 21.0, 22.0)
    assert plane_of_box(roi, GEOMETRY.grid) is None


def test_the_central_slice_is_the_largest_nearest_the_middle() -> None:
    assert central_slice(GEOMETRY) == central_slice(GEOMETRY, np.zeros(SHAPE, bool)) == 2
    mask = np.zeros((9, 4, 4), bool)
    for index, area in {1: 2, 2: 5, 3: 5, 7: 5, 8: 1}.items():
        mask[index].flat[:area] = True
    assert central_slice(GEOMETRY, mask) == 3


def test_rotating_keeps_the_views_apart(scene: slicer.vtkMRMLScene) -> None:
    volume = add_volume(scene, ijk_to_ras(order=(1, 2, 0), turn=(10, 20, -15)))
    grid = grid_from_node(volume)
    for plane in Plane:
        view = add_view(scene, plane)
        assert view_plane(view, grid) is None
        rotate_to_volume(view, volume)
        assert view_plane(view, grid) is plane
