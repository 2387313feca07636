"""What is known of a segment's slices, in few bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .stack_labels import StackLabels, Window, window_of


@dataclass(frozen=True)
class PackedSlice:
    """A (H, W) bool mask, cropped to its set pixels, one bit a pixel; equal if every pixel is.

    :class:`~...session.slice_mask.SliceMask` is smaller, but takes a hundred times as long to make.

    Attributes:
        corner: first row and column of what is kept; 0, 0 if nothing is set.
        size: rows and columns of what is kept.
        bits: row by row.
    """

    corner: tuple[int, int] = (0, 0)
    size: tuple[int, int] = (0, 0)
    bits: bytes = b""

    @classmethod
    def of(cls, mask: np.ndarray, corner: tuple[int, int] = (0, 0)) -> PackedSlice:
        """From a 2D bool array whose first pixel is at ``corner`` of the slice."""
        window = window_of(mask)
        if window is None:
            return cls()
        inside = mask[window]
        first = corner[0] + window[0].start, corner[1] + window[1].start
        return cls(first, inside.shape, np.packbits(inside).tobytes())

    @property
    def window(self) -> Window | None:
        """Rows and columns of what is kept; None if nothing is set."""
        if not self.bits:
            return None
        return tuple(slice(a, a + n) for a, n in zip(self.corner, self.size, strict=True))

    def array(self, shape: tuple[int, int]) -> np.ndarray:
        """The (H, W) bool mask, new each time."""
        mask = np.zeros(shape, bool)
        (row, col), (rows, cols) = self.corner, self.size
        bits = np.unpackbits(np.frombuffer(self.bits, np.uint8), count=rows * cols)
        mask[row : row + rows, col : col + cols] = bits.reshape(rows, cols)
        return mask


class KnownSlices:
    """The slices of a segment as they were last written or seen; those never seen are empty."""

    def __init__(self) -> None:
        self._slices: dict[int, PackedSlice] = {}
        self._written: set[int] = set()

    def write(self, index: int, mask: PackedSlice) -> None:
        """A slice was written."""
        self._set(index, mask)
        self._written.add(index)

    def see(self, index: int, mask: PackedSlice) -> None:
        """Somebody else left a slice like this."""
        self._set(index, mask)
        self._written.discard(index)

    def is_written(self, index: int, mask: PackedSlice) -> bool:
        """Whether this is what was written to a slice, and nobody else's."""
        return index in self._written and self._slices.get(index, PackedSlice()) == mask

    def changed(self, labels: StackLabels, value: int) -> Iterator[tuple[int, PackedSlice]]:
        """Slices of an aligned image, ascending, that are not as they are known: their new mask."""
        for index in sorted({*self._slices, *labels.slices}):
            plane, corner = labels.plane(index)
            now = PackedSlice.of(plane == value, corner)
            if now != self._slices.get(index, PackedSlice()):
                yield index, now

    def _set(self, index: int, mask: PackedSlice) -> None:
        if mask.bits:
            self._slices[index] = mask
        else:
            self._slices.pop(index, None)


class FoundOverlaps:
    """Masks of a segment that overlapped other segments when somebody else left them so."""

    def __init__(self) -> None:
        self._found: dict[int, dict[PackedSlice, PackedSlice]] = {}

    def add(self, index: int, mask: PackedSlice, overlap: PackedSlice) -> None:
        """A slice's mask, and the part of it that other segments have too."""
        if overlap.bits:
            self._found.setdefault(index, {})[mask] = overlap
        elif index in self._found:
            self._found[index].pop(mask, None)

    def of(self, index: int, mask: np.ndarray) -> np.ndarray:
        """(H, W) bool where this very mask overlapped others; nothing for any other mask."""
        if not self._found.get(index):
            return np.zeros(mask.shape, bool)
        return self._found[index].get(PackedSlice.of(mask), PackedSlice()).array(mask.shape)
