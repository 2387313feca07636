"""One segment's voxels on a stack: where they are stored, and what writing slices does to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import slicer

from ...errors import UserError
from ...geometry import Grid, StackGeometry
from .labelmap_writes import (
    Bounds,
    ImageWrite,
    blank_image,
    bounds_of,
    content_bounds,
    copy_voxels,
    same_bounds,
    setting,
)
from .labelmaps import Layer, labels_on_image, layers_of, voxels
from .stack_labels import StackLabels, lattice_of, window_of
from .taken_voxels import Neighbours

# An image grows by half its size, at least by this many voxels, as more is likely to follow.
_MARGIN = 8
# A segment on a lattice so much coarser than the volume's that it would take this many voxels.
_TOO_MANY = 2**30


@dataclass(frozen=True, eq=False)
class Frame:
    """A stack of slices in the coordinates of a segmentation node.

    Args:
        grid: the stack's voxels in the segmentation's own RAS.
        geometry: which voxel is which slice, row and column.
    """

    grid: Grid
    geometry: StackGeometry

    def labels(self, labelmap: slicer.vtkOrientedImageData) -> StackLabels:
        """An image of the segmentation as the stack sees it."""
        matrix = self.grid.ijk_to_ras @ self.geometry.ijk_from_stack_matrix
        return StackLabels(labelmap, matrix, self.geometry.shape)

    @property
    def bounds(self) -> Bounds:
        """First and last slice, row and column."""
        return np.zeros(3, int), np.array(self.geometry.shape) - 1


@dataclass(frozen=True, eq=False)
class SegmentImage:
    """A segment as it is now.

    Attributes:
        segment_id: its id.
        layer: where it is stored.
        labels: its voxels on the stack's lattice: of the layer's image, or of a copy of the
            segment alone if that image is empty or on another lattice.
        value: its label value in both.
        frame: the stack.
        neighbours: the other segments.
    """

    segment_id: str
    layer: Layer
    labels: StackLabels
    value: int
    frame: Frame
    neighbours: list[Neighbours]

    @classmethod
    def of(
        cls, segmentation: slicer.vtkSegmentation, segment_id: str, frame: Frame
    ) -> SegmentImage:
        """A segment that exists.

        Raises:
            UserError: it would be too large on the stack's lattice.
        """
        layers = layers_of(segmentation)
        layer = next(layer for layer in layers if segment_id in layer.values)
        value = layer.values[segment_id]
        labels = frame.labels(layer.labelmap)
        if labels.is_empty or not labels.aligned:
            labels = frame.labels(_resampled(layer.labelmap, value, frame.grid))
        neighbours = [
            Neighbours(frame.labels(each.labelmap), others, tuple(each.values))
            for each in layers
            if (others := {id_: v for id_, v in each.values.items() if id_ != segment_id})
        ]
        return cls(segment_id, layer, labels, value, frame, neighbours)

    @property
    def is_shared(self) -> bool:
        """Whether other segments are stored in the same image."""
        return len(self.layer.values) > 1

    @property
    def is_in_place(self) -> bool:
        """Whether it can be written to where it is."""
        return not self.is_shared and self.labels.labelmap is self.layer.labelmap

    def slice(self, index: int) -> np.ndarray:
        """(H, W) bool of a slice, new each time."""
        _, height, width = self.frame.geometry.shape
        return self.labels.section(index, slice(0, height), slice(0, width)) == self.value

    def neighbours_without(self) -> list[Neighbours]:
        """The other segments when this one gets an image of its own."""
        return [group.without(self.layer.labelmap, self.value) for group in self.neighbours]

    def write(self, changed: Mapping[int, tuple[np.ndarray, np.ndarray]]) -> ImageWrite:
        """The change of some slices, {slice index: (H, W) bool before and after}.

        The segment gets an image of its own, on the stack's lattice, if it has none yet.
        """
        source = self.labels.labelmap
        value = 1 if self.is_shared else self.value
        bounds = content_bounds(source, self.value) if self.is_shared else bounds_of(source)
        bounds = self._with_room(bounds, changed)
        target = source
        if not (self.is_in_place and same_bounds(bounds, bounds_of(source))):
            dtype = np.result_type(voxels(source), np.min_scalar_type(value))
            target = blank_image(self.labels.lattice, bounds, dtype)
            copy_voxels(source, target, self.value if self.is_shared else None)
        write = ImageWrite(self.layer.labelmap, target, [self.segment_id], value)
        labels = self.frame.labels(target)
        for index, (before, after) in changed.items():
            plane, (row, col) = labels.plane(index)
            rows, cols = window = window_of(before != after)
            part = plane[rows.start - row : rows.stop - row, cols.start - col : cols.stop - col]
            new = np.where(before[window], part.dtype.type(0), part)
            new[after[window]] = value
            write.steps.append(setting(part, ..., new))
        return write

    def cut(self) -> ImageWrite | None:
        """The change to an image that ends where the segment ends; None if it does so already."""
        image = self.labels.labelmap
        bounds = content_bounds(image, self.value)
        if not self.is_in_place or same_bounds(bounds, bounds_of(image)):
            return None
        target = blank_image(self.labels.lattice, bounds, voxels(image).dtype)
        copy_voxels(image, target)
        return ImageWrite(self.layer.labelmap, target, [self.segment_id])

    def _with_room(
        self, bounds: Bounds, changed: Mapping[int, tuple[np.ndarray, np.ndarray]]
    ) -> Bounds:
        """Bounds of an image that has room for what slices gain."""
        corners = []
        for index, (before, after) in changed.items():
            window = window_of(after & ~before)
            if window is not None:
                corners += [(index, *(part.start for part in window))]
                corners += [(index, *(part.stop - 1 for part in window))]
        if not corners:
            return bounds
        gained = self.labels.ijk_of(np.array(corners))
        needed = gained.min(axis=0), gained.max(axis=0)
        low, high = bounds
        if (low > high).any():
            low, high = needed[1] + 1, needed[0] - 1
        new_low, new_high = np.minimum(low, needed[0]), np.maximum(high, needed[1])
        margin = np.maximum(_MARGIN, (new_high - new_low + 1) // 2)
        limits = self.labels.ijk_of(np.array(self.frame.bounds))
        first, last = limits.min(axis=0), limits.max(axis=0)
        return (
            np.where(new_low < low, np.maximum(new_low - margin, first), low),
            np.where(new_high > high, np.minimum(new_high + margin, last), high),
        )


def _resampled(
    labelmap: slicer.vtkOrientedImageData, value: int, grid: Grid
) -> slicer.vtkOrientedImageData:
    """A segment alone, on the lattice of a grid: nearest neighbour, also outside the grid."""
    low, high = content_bounds(labelmap, value)
    if (low > high).any():
        return blank_image(grid.ijk_to_ras, (low, high))
    to_grid = grid.ras_to_ijk @ lattice_of(labelmap)
    corners = np.array(np.meshgrid(*np.c_[low - 0.5, high + 0.5])).reshape(3, -1).T
    corners = corners @ to_grid[:3, :3].T + to_grid[:3, 3]
    low = np.floor(corners.min(axis=0)).astype(int)
    high = np.ceil(corners.max(axis=0)).astype(int)
    if np.prod(high - low + 1, dtype=float) > max(_TOO_MANY, np.prod(grid.size, dtype=float)):
        raise UserError(
            "The segment is far larger than the volume; choose a volume that shows all of it."
        )
    result = blank_image(grid.ijk_to_ras, (low, high), np.min_scalar_type(value))
    voxels(result)[labels_on_image(labelmap, result) == value] = value
    return result
