"""Volume nodes to volumes: where the voxels are, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from hypothesis import given, settings

from mrml_scenes import (  # noqa: E402
    SHAPE,
    add_volume,
    affines,
    ijk_to_ras,
    put_under,
    put_under_warp,
    ramp,
    rigid_matrices,
)
from SAM2Medical3DLib.errors import UserError  # noqa: E402
from SAM2Medical3DLib.geometry import Grid  # noqa: E402
from SAM2Medical3DLib.mrml import node_from_volume, volume_from_node  # noqa: E402
from SAM2Medical3DLib.volume import Volume  # noqa: E402


@pytest.fixture
def scene() -> slicer.vtkMRMLScene:
    return slicer.vtkMRMLScene()


@settings(max_examples=25, deadline=None)
@given(affines())
def test_round_trip_keeps_voxels_and_places(matrix: np.ndarray) -> None:
    scene = slicer.vtkMRMLScene()
    grid = Grid(SHAPE[::-1], matrix)
    node = node_from_volume(scene, Volume(ramp(), grid, "mr", (10.0, 90.0)))
    volume = volume_from_node(node)
    assert volume.array.shape == SHAPE
    np.testing.assert_array_equal(volume.array, ramp())
    np.testing.assert_allclose(volume.grid.ijk_to_ras, matrix, atol=1e-9)
    assert volume.name == "mr"
    assert volume.window == pytest.approx((10, 90))


@settings(max_examples=25, deadline=None)
@given(affines(), rigid_matrices())
def test_linear_transform_moves_the_grid(matrix: np.ndarray, moved: np.ndarray) -> None:
    scene = slicer.vtkMRMLScene()
    node = add_volume(scene, matrix)
    put_under(node, moved)
    np.testing.assert_allclose(volume_from_node(node).grid.ijk_to_ras, moved @ matrix, atol=1e-9)


def test_nested_and_scaling_transforms(scene: slicer.vtkMRMLScene) -> None:
    node = add_volume(scene)
    inner, outer = np.diag([2.0, 1.0, 0.5, 1.0]), ijk_to_ras(turn=(10, 20, 30))
    outer[0, 1] += 0.2  # shear
    put_under(node, inner)
    put_under(node.GetParentTransformNode(), outer)
    expected = outer @ inner @ ijk_to_ras()
    np.testing.assert_allclose(volume_from_node(node).grid.ijk_to_ras, expected, atol=1e-9)


def test_array_is_the_nodes_own_memory(scene: slicer.vtkMRMLScene) -> None:
    node = add_volume(scene)
    volume = volume_from_node(node)
    node.GetImageData().SetScalarComponentFromDouble(3, 2, 1, 0, -77)
    assert volume.array[1, 2, 3] == -77


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_scalar_types(scene: slicer.vtkMRMLScene, dtype: type) -> None:
    volume = Volume(ramp(dtype=dtype), Grid(SHAPE[::-1], np.eye(4)))
    assert volume_from_node(node_from_volume(scene, volume)).array.dtype == dtype


def test_types_that_vtk_lacks_are_converted(scene: slicer.vtkMRMLScene) -> None:
    grid = Grid(SHAPE[::-1], np.eye(4))
    half = volume_from_node(node_from_volume(scene, Volume(ramp().astype(np.float16), grid)))
    assert half.array.dtype == np.float32
    big_endian = volume_from_node(node_from_volume(scene, Volume(ramp().astype(">i2"), grid)))
    np.testing.assert_array_equal(big_endian.array, ramp())
    flipped = volume_from_node(node_from_volume(scene, Volume(ramp()[:, ::-1], grid)))
    np.testing.assert_array_equal(flipped.array, ramp()[:, ::-1])


def test_extent_that_does_not_start_at_zero(scene: slicer.vtkMRMLScene) -> None:
    node = add_volume(scene, np.eye(4))
    node.GetImageData().SetExtent(2, 8, 3, 8, 4, 8)
    np.testing.assert_allclose(volume_from_node(node).grid.ijk_to_ras[:3, 3], (2, 3, 4))


def test_no_display_node_means_no_window(scene: slicer.vtkMRMLScene) -> None:
    node = add_volume(scene)
    scene.RemoveNode(node.GetDisplayNode())
    assert volume_from_node(node).window is None


def test_a_node_without_image_is_refused(scene: slicer.vtkMRMLScene) -> None:
    with pytest.raises(UserError, match="no image data"):
        volume_from_node(scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty"))
    with pytest.raises(UserError, match="No volume is selected"):
        volume_from_node(None)


def test_colour_is_refused(scene: slicer.vtkMRMLScene) -> None:
    node = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "photo")
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(4, 4, 4)
    image.AllocateScalars(3, 3)
    node.SetAndObserveImageData(image)
    with pytest.raises(UserError, match="3 values per voxel"):
        volume_from_node(node)


def test_a_sequence_is_refused(scene: slicer.vtkMRMLScene) -> None:
    with pytest.raises(UserError, match="is a sequence"):
        volume_from_node(scene.AddNewNodeByClass("vtkMRMLSequenceNode", "cine"))


def test_a_warp_is_refused(scene: slicer.vtkMRMLScene) -> None:
    node = add_volume(scene)
    put_under_warp(node)
    with pytest.raises(UserError, match=r"ct is under a non-linear transform; harden it"):
        volume_from_node(node)
