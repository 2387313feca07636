"""New labels for some voxels of the segments' images: prepared first, then put in place at once.

Slicer drops every segment's surface when a source image says that it was modified. So an image
written to in place says so through its array, which pipelines and Slicer's undo look at as well,
and a larger image takes the place of the smaller one as a new object.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import slicer
from vtkmodules.util.numpy_support import get_vtk_array_type

from ..transforms import to_vtk
from .labelmaps import voxels
from .sections import VoxelWrite
from .segment_rules import binary_labelmap
from .taken_voxels import Neighbours

Bounds = tuple[np.ndarray, np.ndarray]
Step = Callable[[], None]


@dataclass(eq=False)
class ImageWrite:
    """Changes to one image.

    Attributes:
        labelmap: the image in the segmentation.
        target: where to write: the same image, or another one that takes its place.
        segment_ids: the segments that get the target, if it is another image.
        label_value: what their label value becomes; None leaves it.
        steps: what to do to the target.
    """

    labelmap: slicer.vtkOrientedImageData
    target: slicer.vtkOrientedImageData
    segment_ids: Collection[str]
    label_value: int | None = None
    steps: list[Step] = field(default_factory=list)


def put_in_place(segmentation: slicer.vtkSegmentation, writes: Sequence[ImageWrite]) -> None:
    """Carry out all writes; nothing here can fail for want of memory or bad input."""
    for write in writes:
        for step in write.steps:
            step()
    for write in writes:
        if write.target is write.labelmap:
            write.target.GetPointData().GetScalars().Modified()
            continue
        for id_ in write.segment_ids:
            segment = segmentation.GetSegment(id_)
            if write.label_value is not None:
                segment.SetLabelValue(write.label_value)
            segment.AddRepresentation(binary_labelmap(), write.target)


def write_of_neighbours(group: Neighbours, changes: Sequence[VoxelWrite]) -> ImageWrite:
    """What segments that share an image lose and get back."""
    labels, labelmap = group.labels, group.labels.labelmap
    given = [change for change in changes if change.value]
    corners = [] if labels.is_empty else [*bounds_of(labelmap)]
    corners += [corner for change in given for corner in (change.low, change.high)]
    bounds = np.min(corners, axis=0), np.max(corners, axis=0)
    if labels.is_empty or not same_bounds(bounds, bounds_of(labelmap)):
        # A segment that was cropped meanwhile gets back what lies outside.
        dtypes = [np.min_scalar_type(change.value) for change in given]
        target = blank_image(labels.lattice, bounds, np.result_type(voxels(labelmap), *dtypes))
        copy_voxels(labelmap, target)
        labels = labels.like(target)
    write = ImageWrite(labelmap, labels.labelmap, group.staying)
    if group.leaving:
        array = voxels(labels.labelmap)
        write.steps.append(setting(array, array == group.leaving, 0))
    write.steps += [partial(change.into, labels) for change in changes]
    return write


def blank_image(
    lattice: np.ndarray, bounds: Bounds, dtype: np.dtype | type = np.uint8
) -> slicer.vtkOrientedImageData:
    """An image of background on a lattice (4x4, IJK to RAS); without voxels if bounds are empty."""
    image = slicer.vtkOrientedImageData()
    image.SetImageToWorldMatrix(to_vtk(lattice))
    low, high = bounds
    if (low > high).any():
        image.SetExtent(0, -1, 0, -1, 0, -1)
        # Without a type Slicer complains when it makes a surface of it.
        image.AllocateScalars(get_vtk_array_type(np.dtype(dtype)), 1)
        return image
    image.SetExtent(*(int(edge) for pair in zip(low, high, strict=True) for edge in pair))
    image.AllocateScalars(get_vtk_array_type(np.dtype(dtype)), 1)
    voxels(image)[...] = 0
    return image


def copy_voxels(
    source: slicer.vtkOrientedImageData,
    target: slicer.vtkOrientedImageData,
    label: int | None = None,
) -> None:
    """Copy what two images of one lattice share; of one ``label`` alone if given, as 1."""
    low, high = bounds_of(source)
    low = np.maximum(low, bounds_of(target)[0])
    high = np.minimum(high, bounds_of(target)[1])
    if (low > high).any():
        return
    old, new = (voxels(image)[_part(image, (low, high))] for image in (source, target))
    if label is None:
        new[...] = old
    else:
        np.equal(old, label, out=new, casting="unsafe")


def content_bounds(labelmap: slicer.vtkOrientedImageData, value: int) -> Bounds:
    """First and last IJK of a label in an image; first beyond last if it has none."""
    mask = voxels(labelmap) == value
    filled = [np.flatnonzero(mask.any(axis=axes)) for axes in ((0, 1), (0, 2), (1, 2))]
    if not filled[0].size:
        return np.zeros(3, int), np.full(3, -1)
    first = bounds_of(labelmap)[0]
    return first + [axis[0] for axis in filled], first + [axis[-1] for axis in filled]


def bounds_of(labelmap: slicer.vtkOrientedImageData) -> Bounds:
    """First and last IJK of an image."""
    extent = np.array(labelmap.GetExtent())
    return extent[::2], extent[1::2]


def same_bounds(one: Bounds, other: Bounds) -> bool:
    """Whether two bounds are the same."""
    return bool((one[0] == other[0]).all() and (one[1] == other[1]).all())


def setting(array: np.ndarray, index: Any, value: Any) -> Step:
    """The step that assigns to a part of an array."""
    return lambda: array.__setitem__(index, value)


def _part(labelmap: slicer.vtkOrientedImageData, bounds: Bounds) -> tuple[slice, ...]:
    first = bounds_of(labelmap)[0]
    pairs = zip(bounds[0] - first, bounds[1] - first, strict=True)
    return tuple(slice(low, high + 1) for low, high in pairs)[::-1]
