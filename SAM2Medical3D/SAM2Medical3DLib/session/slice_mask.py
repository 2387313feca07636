"""Masks and results of single slices in few bytes, so that every step of a session can be kept."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import UserError
from ..propagation.base import ObjectResult, confidence


@dataclass(frozen=True)
class SliceMask:
    """A (H, W) bool mask, cropped to its object, one bit a pixel, compressed.

    Two are equal exactly when every pixel is. An organ takes about a kilobyte.

    Attributes:
        shape: H and W.
        corner, extent: first row and column, and rows and columns, of what is kept; all zero for an
            empty mask.
        packed: the bits, row by row, zlib-compressed.
    """

    shape: tuple[int, int]
    corner: tuple[int, int]
    extent: tuple[int, int]
    packed: bytes

    @classmethod
    def of(cls, mask: np.ndarray) -> SliceMask:
        """From a (H, W) array; whatever is not zero belongs to the object."""
        mask = np.asarray(mask).astype(bool)
        if mask.ndim != 2:
            raise UserError(f"A slice's mask is 2D; this one has {mask.ndim} dimensions.")
        rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if rows.size == 0:
            return cls(mask.shape, (0, 0), (0, 0), b"")
        corner = int(rows[0]), int(cols[0])
        inside = mask[corner[0] : rows[-1] + 1, corner[1] : cols[-1] + 1]
        return cls(mask.shape, corner, inside.shape, zlib.compress(np.packbits(inside), 6))

    @property
    def is_empty(self) -> bool:
        """Whether no pixel belongs to the object."""
        return not self.packed

    def array(self) -> np.ndarray:
        """The (H, W) bool mask, new each time."""
        mask = np.zeros(self.shape, bool)
        if not self.is_empty:
            (row, col), (rows, cols) = self.corner, self.extent
            bits = np.frombuffer(zlib.decompress(self.packed), np.uint8)
            inside = np.unpackbits(bits, count=rows * cols).reshape(rows, cols)
            mask[row : row + rows, col : col + cols] = inside
        return mask

    def to_plain(self) -> list[Any]:
        """As JSON values: corner, extent and the bits as base64."""
        return [*self.corner, *self.extent, base64.b64encode(self.packed).decode("ascii")]

    @classmethod
    def from_plain(cls, plain: list[Any], shape: tuple[int, int]) -> SliceMask:
        """From what ``to_plain`` gave.

        Raises:
            ValueError: if it is anything else. Sizes are checked before anything is unpacked, as a
                scene file may come from anywhere.
        """
        row, col, rows, cols = (int(v) for v in plain[:4])
        packed = base64.b64decode(plain[4], validate=True)
        if min(row, col, rows, cols) < 0 or row + rows > shape[0] or col + cols > shape[1]:
            raise ValueError("a mask reaches outside its slice")
        unpacker = zlib.decompressobj()
        size = -(-rows * cols // 8)
        try:
            bits = unpacker.decompress(packed, size + 1) if packed else b""
        except zlib.error as error:
            raise ValueError("a mask is damaged") from error
        if len(bits) != size:
            raise ValueError("a mask is damaged")
        inside = np.unpackbits(np.frombuffer(bits, np.uint8), count=rows * cols)
        mask = np.zeros(shape, bool)
        mask[row : row + rows, col : col + cols] = inside.reshape(rows, cols)
        return cls.of(mask)


@dataclass(frozen=True)
class StoredSlice:
    """One object on one slice, as a propagator gave it or the user drew it.

    Attributes:
        mask: of the object.
        predicted_iou, object_score: see :class:`~..propagation.ObjectResult`.
        view: what the model looked at, to look there again; no part of the result.
    """

    mask: SliceMask
    predicted_iou: float = 1.0
    object_score: float = 1.0
    view: Any = field(default=None, compare=False)

    @classmethod
    def of(cls, result: ObjectResult) -> StoredSlice:
        """What is worth keeping of a propagator's result."""
        mask = SliceMask.of(result.mask)
        return cls(mask, result.predicted_iou, result.object_score, result.view)

    @property
    def confidence(self) -> float:
        """0..1; see :func:`~..propagation.base.confidence`."""
        return confidence(self.mask.is_empty, self.predicted_iou, self.object_score)

    def result(self, prompted: bool) -> ObjectResult:
        """As a propagator would give it."""
        return ObjectResult(
            self.mask.array(), self.predicted_iou, self.object_score, prompted, view=self.view
        )

    def to_plain(self) -> list[Any]:
        """As JSON values."""
        return [self.predicted_iou, self.object_score, *self.mask.to_plain()]

    @classmethod
    def from_plain(cls, plain: list[Any], shape: tuple[int, int]) -> StoredSlice:
        """From what ``to_plain`` gave; ValueError if it is anything else."""
        iou, score = (float(v) for v in plain[:2])
        if not (0 <= iou <= 1 and 0 <= score <= 1):
            raise ValueError("a score is out of range")
        return cls(SliceMask.from_plain(plain[2:], shape), iou, score)
