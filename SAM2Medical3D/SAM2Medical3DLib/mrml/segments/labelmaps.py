"""Segments' labelmap images to arrays and back.

A labelmap image has an extent on an endless lattice; its voxels outside the extent are background.
Several segments may share one image (a *layer*), each with a label value of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import slicer
from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from ...geometry import Grid
from ..transforms import to_vtk


@dataclass(frozen=True, eq=False)
class Layer:
    """A labelmap image and the segments that live in it.

    Args:
        labelmap: the image, in the segmentation node's own RAS coordinates.
        values: {segment id: label value}.
    """

    labelmap: slicer.vtkOrientedImageData
    values: Mapping[str, int]


def layers_of(segmentation: slicer.vtkSegmentation) -> list[Layer]:
    """The binary labelmap layers of a segmentation."""
    layers = []
    for number in range(segmentation.GetNumberOfLayers()):
        ids = segmentation.GetSegmentIDsForLayer(number)
        values = {id_: segmentation.GetSegment(id_).GetLabelValue() for id_ in ids}
        layers.append(Layer(segmentation.GetLayerDataObject(number), values))
    return layers


def voxels(labelmap: slicer.vtkOrientedImageData) -> np.ndarray:
    """A (K, J, I) view of the labels inside the image's extent; (0, 0, 0) for an empty image."""
    scalars = labelmap.GetPointData().GetScalars()
    if scalars is None or min(labelmap.GetDimensions()) < 1:
        return np.zeros((0, 0, 0), np.uint8)
    return vtk_to_numpy(scalars).reshape(labelmap.GetDimensions()[::-1])


def labelmap_from_mask(mask: np.ndarray, grid: Grid) -> slicer.vtkOrientedImageData:
    """A (K, J, I) bool mask as an image of zeros and ones, cut to the voxels that are set."""
    labelmap = slicer.vtkOrientedImageData()
    labelmap.SetImageToWorldMatrix(to_vtk(grid.ijk_to_ras))
    if not mask.any():
        labelmap.SetExtent(0, -1, 0, -1, 0, -1)
        return labelmap
    bounds = []
    for axis in range(3):
        filled = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        bounds.append((int(filled[0]), int(filled[-1])))
    cut = mask[tuple(slice(first, last + 1) for first, last in bounds)]
    labelmap.SetExtent(*bounds[2], *bounds[1], *bounds[0])
    scalars = np.ascontiguousarray(cut, np.uint8).ravel()
    labelmap.GetPointData().SetScalars(numpy_to_vtk(scalars, deep=True))
    return labelmap


def with_voxels(
    labelmap: slicer.vtkOrientedImageData, labels: np.ndarray
) -> slicer.vtkOrientedImageData:
    """A new image at the place of another one, holding a copy of (K, J, I) labels."""
    result = slicer.vtkOrientedImageData()
    result.DeepCopy(labelmap)
    if labels.size:
        voxels(result)[...] = labels
    return result


def labels_on_grid(labelmap: slicer.vtkOrientedImageData, grid: Grid) -> np.ndarray:
    """Labels at the voxel centres of a grid, (K, J, I); nearest neighbour, background outside.

    On the same lattice the labels come back exactly, whatever the extent.
    """
    reference = slicer.vtkOrientedImageData()
    reference.SetImageToWorldMatrix(to_vtk(grid.ijk_to_ras))
    reference.SetExtent(*(bound for size in grid.size for bound in (0, size - 1)))
    return labels_on_image(labelmap, reference)


def labels_on_image(
    labelmap: slicer.vtkOrientedImageData, reference: slicer.vtkOrientedImageData
) -> np.ndarray:
    """Labels at the voxel centres of another image, (K, J, I) over its extent."""
    result = slicer.vtkOrientedImageData()
    resampled = slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
        labelmap, reference, result
    )
    if not resampled:
        return np.zeros(reference.GetDimensions()[::-1], np.uint8)
    return voxels(result)
