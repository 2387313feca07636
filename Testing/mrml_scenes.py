"""Small scenes of real MRML nodes for the tests of the Slicer-facing layer."""

from __future__ import annotations

import numpy as np
import slicer
from hypothesis import strategies as st
from vtkmodules.vtkCommonMath import vtkMatrix4x4

from grids import grids, make_grid
from SAM2Medical3DLib.geometry import Grid
from SAM2Medical3DLib.mrml import node_from_volume
from SAM2Medical3DLib.volume import Volume

# K, J, I sizes that differ, so that no axis can pass for another.
SHAPE = (5, 6, 7)


def ijk_to_ras(**options: object) -> np.ndarray:
    """A (4, 4) voxel to RAS matrix; options as :func:`grids.make_grid`."""
    return make_grid(SHAPE, **options).ijk_to_ras.copy()


def affines() -> st.SearchStrategy[np.ndarray]:
    """Voxel to RAS matrices with any axis order, flips, spacing and obliqueness."""
    return grids().map(lambda grid: grid.ijk_to_ras)


def rigid_matrices() -> st.SearchStrategy[np.ndarray]:
    """(4, 4) rotations with a translation."""
    return st.builds(
        lambda turn, shift: ijk_to_ras(spacing=(1, 1, 1), signs=(1, 1, 1), turn=turn, origin=shift),
        st.tuples(*[st.floats(-170, 170)] * 3),
        st.tuples(*[st.floats(-50, 50)] * 3),
    )


def ramp(shape: tuple[int, int, int] = SHAPE, dtype: type = np.int16) -> np.ndarray:
    """(K, J, I) voxels that all differ."""
    return np.arange(np.prod(shape), dtype=dtype).reshape(shape)


def add_volume(
    scene: slicer.vtkMRMLScene,
    matrix: np.ndarray | None = None,
    shape: tuple[int, int, int] = SHAPE,
    name: str = "ct",
) -> slicer.vtkMRMLScalarVolumeNode:
    """A volume node of voxels that all differ."""
    grid = Grid(shape[::-1], ijk_to_ras() if matrix is None else matrix)
    return node_from_volume(scene, Volume(ramp(shape), grid, name))


def add_segmentation(
    scene: slicer.vtkMRMLScene, name: str = "seg"
) -> slicer.vtkMRMLSegmentationNode:
    """An empty segmentation node with a display node."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    return node


def put_under(node: slicer.vtkMRMLTransformableNode, matrix: np.ndarray) -> None:
    """Put a node under a linear transform."""
    transform = node.GetScene().AddNewNodeByClass("vtkMRMLLinearTransformNode")
    vtk_matrix = vtkMatrix4x4()
    vtk_matrix.DeepCopy(matrix.ravel())
    transform.SetMatrixTransformToParent(vtk_matrix)
    node.SetAndObserveTransformNodeID(transform.GetID())


def put_under_warp(node: slicer.vtkMRMLTransformableNode) -> None:
    """Put a node under a thin plate spline."""
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonTransforms import vtkThinPlateSplineTransform

    corners = [(0, 0, 0), (50, 0, 0), (0, 50, 0), (0, 0, 50), (50, 50, 50)]
    source, target = vtkPoints(), vtkPoints()
    for x, y, z in corners:
        source.InsertNextPoint(x, y, z)
        target.InsertNextPoint(x + 3 * (y > 0) * (x > 0), y, z)
    warp = vtkThinPlateSplineTransform()
    warp.SetBasisToR()
    warp.SetSourceLandmarks(source)
    warp.SetTargetLandmarks(target)
    transform = node.GetScene().AddNewNodeByClass("vtkMRMLTransformNode")
    transform.SetAndObserveTransformToParent(warp)
    node.SetAndObserveTransformNodeID(transform.GetID())


def block(*bounds: tuple[int, int], shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """A (K, J, I) bool mask that is set in a box, given as (first, end) along K, J and I."""
    mask = np.zeros(shape, bool)
    mask[tuple(slice(first, end) for first, end in bounds)] = True
    return mask
