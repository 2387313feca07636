"""Cross-sections of other segments' images with a slice of a stack.

An image on the stack's own voxels is cut pixel by pixel. One on another lattice is cut voxel by
voxel: a voxel belongs to the slice, and to the pixel, in which its centre lies.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .known_slices import PackedSlice
from .stack_labels import StackLabels, Window, pick, window_of


@dataclass(frozen=True, eq=False)
class Loss:
    """What a segment lost on one slice.

    Attributes:
        window: rows and columns it lies in.
        pixels: for an image on the stack's voxels.
        ijk: for an image on another lattice, (n, 3) int32 voxels of that lattice.
        lattice: of ``ijk``, 4x4 from IJK to RAS.
    """

    window: Window
    pixels: PackedSlice = PackedSlice()
    ijk: np.ndarray | None = None
    lattice: np.ndarray | None = None


class VoxelWrite(ABC):
    """One label for some voxels of an image.

    Attributes:
        labels: the image as it is.
        segment_id: the segment that loses the voxels or gets them.
        value: the label, 0 for a loss.
        low, high: first and last IJK of the voxels.
    """

    labels: StackLabels
    segment_id: str
    value: int
    low: np.ndarray
    high: np.ndarray

    @abstractmethod
    def into(self, target: StackLabels) -> None:
        """Write to the image, or to a larger one of the same lattice."""


class Section(ABC):
    """A part of an image's cross-section with a slice.

    Attributes:
        labels: what its voxels hold, 0 outside the image; the other arrays are like it.
    """

    labels: np.ndarray

    @abstractmethod
    def of(self, mask: np.ndarray) -> np.ndarray:
        """Bool: the voxels that lie in set pixels of a (H, W) mask."""

    @abstractmethod
    def recall(self, loss: Loss) -> np.ndarray:
        """Bool: the voxels of a loss; none if the image had another lattice then."""

    @abstractmethod
    def loss(self, voxels: np.ndarray) -> Loss:
        """Voxels of the section, at least one, to be recalled later."""

    @abstractmethod
    def write(self, voxels: np.ndarray, value: int, segment_id: str) -> VoxelWrite:
        """The write of a label to voxels of the section, at least one."""


def section_of(
    labels: StackLabels, index: int, window: Window, losses: Sequence[Loss] = ()
) -> Section:
    """The section of an image with a part of a slice, with room for losses outside the image."""
    if labels.aligned:
        return _PixelSection(labels, index, window)
    return _VoxelSection(labels, index, window, losses)


class _PixelSection(Section):
    def __init__(self, image: StackLabels, index: int, window: Window) -> None:
        self._image, self._index, self._window = image, index, window
        self.labels = image.section(index, *window)

    def of(self, mask: np.ndarray) -> np.ndarray:
        return mask[self._window]

    def recall(self, loss: Loss) -> np.ndarray:
        return loss.pixels.array(self._image.shape[1:])[self._window]

    def loss(self, voxels: np.ndarray) -> Loss:
        pixels = PackedSlice.of(voxels, tuple(part.start for part in self._window))
        return Loss(pixels.window, pixels)

    def write(self, voxels: np.ndarray, value: int, segment_id: str) -> VoxelWrite:
        return _PixelWrite(self._image, segment_id, self._index, self._window, voxels, value)


class _PixelWrite(VoxelWrite):
    def __init__(
        self,
        labels: StackLabels,
        segment_id: str,
        index: int,
        window: Window,
        mask: np.ndarray,
        value: int,
    ) -> None:
        self.labels, self.segment_id, self._index, self.value = labels, segment_id, index, value
        inner = window_of(mask)
        self._mask = mask[inner]
        self._rows, self._cols = (
            slice(outer.start + part.start, outer.start + part.stop)
            for outer, part in zip(window, inner, strict=True)
        )
        corners = [
            (index, self._rows.start, self._cols.start),
            (index, self._rows.stop - 1, self._cols.stop - 1),
        ]
        ijk = labels.ijk_of(np.array(corners))
        self.low, self.high = ijk.min(axis=0), ijk.max(axis=0)

    def into(self, target: StackLabels) -> None:
        plane, (row, col) = target.plane(self._index)
        rows = slice(self._rows.start - row, self._rows.stop - row)
        cols = slice(self._cols.start - col, self._cols.stop - col)
        plane[rows, cols][self._mask] = self.value


class _VoxelSection(Section):
    def __init__(
        self, image: StackLabels, index: int, window: Window, losses: Sequence[Loss]
    ) -> None:
        self._image = image
        # The image may have been cropped since.
        lost = [loss.ijk for loss in losses if self._is_mine(loss)]
        low = np.min([image.bounds[0], *(ijk.min(axis=0) for ijk in lost)], axis=0)
        high = np.max([image.bounds[1], *(ijk.max(axis=0) for ijk in lost)], axis=0)
        ijk = image.near(index, window, (low, high))
        stack = image.stack_of(ijk)
        here = stack[:, 0] == index
        self._ijk, self._stack = ijk[here], stack[here]
        self.labels = image.labels_at(self._ijk)

    def of(self, mask: np.ndarray) -> np.ndarray:
        return pick(mask, self._stack)

    def recall(self, loss: Loss) -> np.ndarray:
        if not self._is_mine(loss):
            return np.zeros(len(self._ijk), bool)
        together = np.concatenate([self._ijk, loss.ijk]).astype(np.int64)
        together -= together.min(axis=0)
        numbers = np.ravel_multi_index(together.T, together.max(axis=0) + 1)
        return np.isin(numbers[: len(self._ijk)], numbers[len(self._ijk) :])

    def loss(self, voxels: np.ndarray) -> Loss:
        rows, cols = self._stack[voxels, 1:].T
        window = slice(rows.min(), rows.max() + 1), slice(cols.min(), cols.max() + 1)
        return Loss(window, ijk=self._ijk[voxels], lattice=self._image.lattice)

    def write(self, voxels: np.ndarray, value: int, segment_id: str) -> VoxelWrite:
        return _VoxelWrite(self._image, segment_id, self._ijk[voxels], value)

    def _is_mine(self, loss: Loss) -> bool:
        """Whether a loss is of voxels on this lattice."""
        return loss.lattice is not None and np.allclose(loss.lattice, self._image.lattice)


class _VoxelWrite(VoxelWrite):
    def __init__(self, labels: StackLabels, segment_id: str, ijk: np.ndarray, value: int) -> None:
        self.labels, self.segment_id, self._ijk, self.value = labels, segment_id, ijk, value
        self.low, self.high = ijk.min(axis=0), ijk.max(axis=0)

    def into(self, target: StackLabels) -> None:
        target.put(self._ijk, self.value)
