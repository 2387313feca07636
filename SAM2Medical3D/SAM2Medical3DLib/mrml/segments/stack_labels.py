"""A labelmap image as the slices of a stack see it, whatever its own lattice."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import slicer
from vtkmodules.vtkCommonMath import vtkMatrix4x4

from ..transforms import to_numpy
from .labelmaps import voxels

Window = tuple[slice, slice]

# Voxel centres of two lattices that are nearer than this, in voxels, are the same voxel.
_SAME_VOXEL = 0.01
# A centre exactly between two voxels must fall to the same one each time it is computed.
_TIE = 1e-6


class StackLabels:
    """The labels of an image, addressed by slice, row and column of a stack.

    On the stack's own voxels (*aligned*: any axis order, flips, whole steps apart) slices are views
    of the image; on another lattice the nearest voxel counts.

    Args:
        labelmap: the image. Made smaller or larger, it needs a new ``StackLabels``.
        ras_from_stack: 4x4 from (slice, row, column, 1) to the image's RAS millimetres.
        shape: number of slices, rows and columns.

    Attributes:
        lattice: 4x4 from the image's IJK to RAS.
        aligned: whether the image has its voxels where the stack has them.
    """

    def __init__(
        self,
        labelmap: slicer.vtkOrientedImageData,
        ras_from_stack: np.ndarray,
        shape: tuple[int, int, int],
    ) -> None:
        self.labelmap, self.shape = labelmap, shape
        self._ras_from_stack = ras_from_stack
        self.lattice = lattice_of(labelmap)
        matrix = np.linalg.inv(self.lattice) @ ras_from_stack
        exact = np.rint(matrix)
        steps = np.abs(exact[:3, :3])
        gap = np.abs(matrix - exact)[:3] @ (*shape, 1)
        self.aligned = bool(
            (steps.sum(0) == 1).all() and (steps.sum(1) == 1).all() and gap.max() < _SAME_VOXEL
        )
        self._ijk_from_stack = exact if self.aligned else matrix
        inverse = np.linalg.inv(self._ijk_from_stack)
        self._stack_from_ijk = np.rint(inverse) if self.aligned else inverse
        self._array = voxels(labelmap)
        extent = labelmap.GetExtent()
        self._low, self._high = np.array(extent[::2]), np.array(extent[1::2])
        if self.aligned:
            self._first, self._view = self._part_inside()

    def like(self, labelmap: slicer.vtkOrientedImageData) -> StackLabels:
        """Another image as the same stack sees it."""
        return StackLabels(labelmap, self._ras_from_stack, self.shape)

    @property
    def is_empty(self) -> bool:
        """Whether the image has no voxel at all."""
        return self._array.size == 0

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """First and last IJK of the image."""
        return self._low, self._high

    @property
    def slices(self) -> range:
        """The slices that an aligned image reaches."""
        return range(self._first[0], self._first[0] + self._view.shape[0])

    def plane(self, index: int) -> tuple[np.ndarray, tuple[int, int]]:
        """An aligned image's part of a slice, a (rows, columns) view, and its first row, column."""
        number = index - self._first[0]
        if 0 <= number < self._view.shape[0]:
            return self._view[number], self._first[1:]
        return self._view[:0].reshape(0, 0), (0, 0)

    def section(self, index: int, rows: slice, cols: slice) -> np.ndarray:
        """(rows, columns) labels of a part of a slice, 0 where the image has no voxel."""
        size = rows.stop - rows.start, cols.stop - cols.start
        if not self.aligned:
            points = np.empty((*size, 3))
            points[..., 0] = index
            points[..., 1] = np.arange(rows.start, rows.stop)[:, None]
            points[..., 2] = np.arange(cols.start, cols.stop)
            return self.labels_at(self.ijk_of(points.reshape(-1, 3))).reshape(size)
        found = np.zeros(size, self._array.dtype)
        plane, (row, col) = self.plane(index)
        top, left = max(rows.start, row), max(cols.start, col)
        bottom = min(rows.stop, row + plane.shape[0])
        right = min(cols.stop, col + plane.shape[1])
        if top < bottom and left < right:
            found[
                top - rows.start : bottom - rows.start, left - cols.start : right - cols.start
            ] = plane[top - row : bottom - row, left - col : right - col]
        return found

    def near(self, index: int, window: Window, bounds: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Voxels of the image's lattice, with all whose centres lie in this part of a slice.

        Args:
            index: the slice.
            window: rows and columns.
            bounds: first and last IJK to look at.

        Returns:
            (n, 3) int32 IJK.
        """
        edges = [(index - 0.6, index + 0.6)]
        edges += [(part.start - 0.6, part.stop - 0.4) for part in window]
        corners = np.array(np.meshgrid(*edges)).reshape(3, -1).T
        corners = corners @ self._ijk_from_stack[:3, :3].T + self._ijk_from_stack[:3, 3]
        low = np.maximum(np.floor(corners.min(axis=0)).astype(int), bounds[0])
        high = np.minimum(np.ceil(corners.max(axis=0)).astype(int), bounds[1])
        if (low > high).any():
            return np.zeros((0, 3), np.int32)
        # Along the axis that crosses slices fastest, few voxels of each line lie in this slice.
        slopes, offset = self._stack_from_ijk[0, :3], self._stack_from_ijk[0, 3]
        axis = int(np.argmax(np.abs(slopes)))
        across = [other for other in range(3) if other != axis]
        lines = np.meshgrid(*(np.arange(low[a], high[a] + 1) for a in across), indexing="ij")
        rest = offset + sum(slopes[a] * n for a, n in zip(across, lines, strict=True))
        ends = [(index + half - rest) / slopes[axis] for half in (-0.6, 0.6)]
        steps = np.arange(int(np.ceil(1.2 / abs(slopes[axis]))) + 1)
        found = np.empty((*rest.shape, steps.size, 3), np.int32)
        found[..., axis] = np.floor(np.minimum(*ends))[..., None] + steps
        for a, n in zip(across, lines, strict=True):
            found[..., a] = n[..., None]
        found = found.reshape(-1, 3)
        return found[(found[:, axis] >= low[axis]) & (found[:, axis] <= high[axis])]

    def labels_at(self, ijk: np.ndarray) -> np.ndarray:
        """(n,) labels of (n, 3) IJK voxels of the image, 0 outside its extent."""
        inside = ((ijk >= self._low) & (ijk <= self._high)).all(axis=1)
        found = np.zeros(len(ijk), self._array.dtype)
        i, j, k = (ijk[inside] - self._low).T
        found[inside] = self._array[k, j, i]
        return found

    def put(self, ijk: np.ndarray, value: int) -> None:
        """Write a label to (n, 3) IJK voxels inside the extent; the image does not say so."""
        i, j, k = (ijk - self._low).T
        self._array[k, j, i] = value

    def ijk_of(self, stack: np.ndarray) -> np.ndarray:
        """(n, 3) slice, row, column to the nearest voxels of the image's lattice, (n, 3) int32."""
        return _nearest(self._ijk_from_stack, stack)

    def stack_of(self, ijk: np.ndarray) -> np.ndarray:
        """(n, 3) IJK of the image to the nearest slice, row, column, (n, 3) int32."""
        return _nearest(self._stack_from_ijk, ijk)

    def _part_inside(self) -> tuple[tuple[int, int, int], np.ndarray]:
        """The (slice, row, column) view of the image's part inside the stack, and its corner."""
        if self.is_empty:
            return (0, 0, 0), self._array.reshape(0, 0, 0)
        axes = [int(np.argmax(np.abs(self._ijk_from_stack[:3, axis]))) for axis in range(3)]
        signs = [int(self._ijk_from_stack[axes[axis], axis]) for axis in range(3)]
        view = self._array.transpose([2 - axis for axis in axes])
        view = view[tuple(slice(None, None, sign) for sign in signs)]
        first = self.stack_of(np.array([self._low, self._high])).min(axis=0)
        start = np.maximum(first, 0)
        stop = np.minimum(first + view.shape, self.shape)
        view = view[
            tuple(slice(max(0, a), max(0, b)) for a, b in np.c_[start, stop] - first[:, None])
        ]
        return tuple(int(value) for value in start), view


def lattice_of(labelmap: slicer.vtkOrientedImageData) -> np.ndarray:
    """4x4 from an image's IJK to its RAS millimetres."""
    matrix = vtkMatrix4x4()
    labelmap.GetImageToWorldMatrix(matrix)
    return to_numpy(matrix)


def window_of(mask: np.ndarray) -> Window | None:
    """Rows and columns of a (H, W) mask that hold its set pixels; None if there is none."""
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if rows.size == 0:
        return None
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(cols[0]), int(cols[-1]) + 1)


def joined(windows: Iterable[Window | None]) -> Window | None:
    """The smallest window that holds some others; None if there is none."""
    windows = [window for window in windows if window is not None]
    if not windows:
        return None
    return tuple(
        slice(min(part.start for part in parts), max(part.stop for part in parts))
        for parts in zip(*windows, strict=True)
    )


def pick(mask: np.ndarray, stack: np.ndarray) -> np.ndarray:
    """(n,) bool: whether (n, 3) slice, row, column points lie in set pixels of a (H, W) mask."""
    rows, cols = stack[:, 1], stack[:, 2]
    inside = (rows >= 0) & (rows < mask.shape[0]) & (cols >= 0) & (cols < mask.shape[1])
    found = np.zeros(len(stack), bool)
    found[inside] = mask[rows[inside], cols[inside]]
    return found


def _nearest(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    moved = points @ matrix[:3, :3].T + matrix[:3, 3]
    return np.floor(moved + (0.5 + _TIE)).astype(np.int32)
