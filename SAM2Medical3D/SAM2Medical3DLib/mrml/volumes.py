"""Volume nodes to :class:`~..volume.Volume` and back."""

from __future__ import annotations

import numpy as np
import slicer
from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
from vtkmodules.vtkCommonDataModel import vtkImageData
from vtkmodules.vtkCommonMath import vtkMatrix4x4

from ..errors import UserError
from ..geometry import Grid
from ..volume import Volume
from .transforms import matrix_between, to_numpy, to_vtk


def volume_from_node(node: slicer.vtkMRMLScalarVolumeNode) -> Volume:
    """The voxels of a volume node, without copying them, and where they are in the world.

    Args:
        node: a scalar volume. One that shows a sequence gives the time point shown.

    Returns:
        A volume whose array is a (K, J, I) view of the node's own voxels (it follows later changes
        of them), on a grid in world RAS millimetres, with the display's window if there is one.

    Raises:
        UserError: no image, more than one value per voxel (colour, vector, 4D), a sequence, or a
            non-linear parent transform.
    """
    image = _checked_image(node)
    array = vtk_to_numpy(image.GetPointData().GetScalars())
    return Volume(
        array=array.reshape(image.GetDimensions()[::-1]),
        grid=grid_from_node(node),
        name=node.GetName() or "volume",
        window=_display_window(node),
    )


def grid_from_node(
    node: slicer.vtkMRMLScalarVolumeNode, target: slicer.vtkMRMLTransformableNode | None = None
) -> Grid:
    """The voxel grid of a volume node in the world, or in another node's own coordinates.

    Raises:
        UserError: as :func:`volume_from_node`.
    """
    image = _checked_image(node)
    matrix = vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    first_voxel = np.eye(4)
    first_voxel[:3, 3] = image.GetExtent()[::2]
    ijk_to_ras = matrix_between(node, target) @ to_numpy(matrix) @ first_voxel
    return Grid(image.GetDimensions(), ijk_to_ras)


def node_from_volume(
    scene: slicer.vtkMRMLScene, volume: Volume, name: str | None = None
) -> slicer.vtkMRMLScalarVolumeNode:
    """A new scalar volume node, with its display node, that holds a copy of a volume.

    The display shows the volume's window, or the volume's whole range if it has none.
    """
    array = volume.array
    if array.dtype == bool or array.dtype == np.float16:
        array = array.astype(np.uint8 if array.dtype == bool else np.float32)
    scalars = np.ascontiguousarray(array, array.dtype.newbyteorder("=")).ravel()
    image = vtkImageData()
    image.SetDimensions(*volume.grid.size)
    image.GetPointData().SetScalars(numpy_to_vtk(scalars, deep=True))
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name or volume.name)
    node.SetIJKToRASMatrix(to_vtk(volume.grid.ijk_to_ras))
    node.SetAndObserveImageData(image)
    node.CreateDefaultDisplayNodes()
    low, high = volume.window or volume.finite_range
    display = node.GetScalarVolumeDisplayNode()
    display.SetDefaultColorMap()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(low, high)
    return node


def _checked_image(node: slicer.vtkMRMLScalarVolumeNode) -> vtkImageData:
    if node is None:
        raise UserError("No volume is selected; load or select one first.")
    name = node.GetName() or "The volume"
    if node.IsA("vtkMRMLSequenceNode"):
        raise UserError(f"{name} is a sequence; select the volume that shows one time point of it.")
    image = node.GetImageData() if node.IsA("vtkMRMLScalarVolumeNode") else None
    if image is None or image.GetPointData().GetScalars() is None:
        raise UserError(f"{name} has no image data; load the image first.")
    if image.GetNumberOfScalarComponents() > 1:
        raise UserError(
            f"{name} has {image.GetNumberOfScalarComponents()} values per voxel (colour, vector or "
            "4D); convert it to a scalar volume first, for example with Vector to Scalar Volume."
        )
    return image


def _display_window(node: slicer.vtkMRMLScalarVolumeNode) -> tuple[float, float] | None:
    display = node.GetScalarVolumeDisplayNode()
    if display is None or display.GetWindow() <= 0:
        return None
    level, half = display.GetLevel(), display.GetWindow() / 2
    return level - half, level + half
