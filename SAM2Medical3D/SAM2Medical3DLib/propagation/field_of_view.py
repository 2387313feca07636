"""The part of a slice that a model looks at.

SAM 2's mask logits are a quarter of its input, so on a 512x512 slice a 256-pixel model has one
logit for eight pixels. Cropping around the object before resizing is what lets a small model be
precise. One crop serves a whole run, so that the memory of other slices stays aligned.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from ..models.dense_prompts import LIMIT
from ..prompts import SlicePrompt

OUTSIDE_LOGIT = -1024.0  # what sam2 itself gives to slices without the object


@dataclass(frozen=True)
class FieldOfView:
    """A rectangle of pixels, rows ``row0``..``row1`` and columns ``col0``..``col1`` (exclusive), of
    slices that are ``height`` x ``width``."""

    row0: int
    row1: int
    col0: int
    col1: int
    height: int
    width: int

    @classmethod
    def whole(cls, height: int, width: int) -> FieldOfView:
        """The whole slice."""
        return cls(0, height, 0, width, height, width)

    @classmethod
    def square(
        cls,
        centre: tuple[float, float],
        side_mm: float,
        spacing: tuple[float, float],
        height: int,
        width: int,
    ) -> FieldOfView:
        """A square of ``side_mm`` around (row, column), moved inside the slice.

        Where the slice is smaller than the side, its whole extent is taken.

        Args:
            spacing: of rows and columns in millimetres.
        """
        bounds = []
        for middle, step, size in zip(centre, spacing, (height, width), strict=True):
            side = min(size, max(8, round(side_mm / step)))
            start = min(max(0, round(middle + 0.5 - side / 2)), size - side)
            bounds += [start, start + side]
        return cls(*bounds, height, width)

    @classmethod
    def around(
        cls,
        box: tuple[float, float, float, float],
        margin: float,
        spacing: tuple[float, float],
        height: int,
        width: int,
    ) -> FieldOfView:
        """A square around a box, ``margin`` times as wide as the box's longer side.

        Args:
            box: first row, first column, last row, last column (inclusive pixels).
        """
        row0, col0, row1, col1 = box
        side = max((row1 - row0 + 1) * spacing[0], (col1 - col0 + 1) * spacing[1])
        centre = ((row0 + row1) / 2, (col0 + col1) / 2)
        return cls.square(centre, side * margin, spacing, height, width)

    @property
    def is_whole(self) -> bool:
        """Whether this is the whole slice."""
        return self.shape == (self.height, self.width)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns inside."""
        return self.row1 - self.row0, self.col1 - self.col0

    def widened(self, factor: float) -> FieldOfView:
        """The same centre with sides ``factor`` times as long, inside the slice."""
        rows, cols = self.shape
        centre = ((self.row0 + self.row1 - 1) / 2, (self.col0 + self.col1 - 1) / 2)
        bounds = []
        for middle, side, size in zip(centre, (rows, cols), (self.height, self.width), strict=True):
            longer = min(size, round(side * factor))
            start = min(max(0, round(middle + 0.5 - longer / 2)), size - longer)
            bounds += [start, start + longer]
        return FieldOfView(*bounds, self.height, self.width)

    def touched_by(self, mask: np.ndarray) -> bool:
        """Whether a (height, width) mask reaches a border of the view that is not the slice's."""
        return self.cuts(self.crop(mask))

    def cuts(self, inside: np.ndarray) -> bool:
        """The same for a 2D mask of the view alone, of any resolution."""
        return bool(
            (self.row0 > 0 and inside[0].any())
            or (self.row1 < self.height and inside[-1].any())
            or (self.col0 > 0 and inside[:, 0].any())
            or (self.col1 < self.width and inside[:, -1].any())
        )

    def crop(self, slice_: np.ndarray) -> np.ndarray:
        """The part of a (height, width) array inside the view."""
        return slice_[self.row0 : self.row1, self.col0 : self.col1]

    def frame(self, slice_: np.ndarray, size: int) -> np.ndarray:
        """A (height, width) uint8 slice as the (size, size) uint8 input of a model.

        Resized by Pillow's bicubic filter, as sam2's own frame loader does.
        """
        crop = np.ascontiguousarray(self.crop(slice_))
        return np.asarray(Image.fromarray(crop).resize((size, size)))

    def points(self, rows_cols: np.ndarray, size: int) -> np.ndarray:
        """(N, 2) rows and columns of the slice to (N, 2) x, y of the model's input."""
        rows, cols = self.shape
        xy = np.asarray(rows_cols, np.float32)[:, ::-1] - np.float32([self.col0, self.row0])
        return xy / np.float32([cols, rows]) * np.float32(size)

    def mask(self, mask: np.ndarray, size: int) -> torch.Tensor:
        """A (height, width) bool mask as the (1, 1, size, size) float input of a model.

        Resized as ``SAM2VideoPredictor.add_new_mask`` does.
        """
        tensor = torch.from_numpy(self.crop(mask).astype(np.float32))[None, None]
        if tensor.shape[-2:] == (size, size):
            return tensor
        resized = F.interpolate(
            tensor, (size, size), mode="bilinear", align_corners=False, antialias=True
        )
        return (resized >= 0.5).float()

    def mask_logits(self, mask: np.ndarray, size: int) -> torch.Tensor:
        """A (height, width) bool mask as the (1, 1, S/4, S/4) logits of a decoder's dense prompt.

        Within -LIMIT..LIMIT, soft where a low-resolution pixel is only partly inside.
        """
        return (F.avg_pool2d(self.mask(mask, size), 4) - 0.5) * (2 * LIMIT)

    def low_resolution(self, logits: np.ndarray, size: int, limit: float = LIMIT) -> torch.Tensor:
        """(height, width) logits of a slice as (1, 1, S/4, S/4) logits of the model, within
        -limit..limit; the other way round from :meth:`logits`."""
        crop = np.clip(self.crop(logits), -limit, limit).astype(np.float32)
        return F.interpolate(
            torch.from_numpy(crop)[None, None],
            (size // 4, size // 4),
            mode="bilinear",
            align_corners=False,
            antialias=True,
        )

    def logits(self, low_resolution: torch.Tensor) -> np.ndarray:
        """(N, 1, S/4, S/4) logits of the model as (N, height, width) float32 for the slice."""
        inside = F.interpolate(
            low_resolution.float(), self.shape, mode="bilinear", align_corners=False
        )
        inside = inside[:, 0].cpu().numpy()
        if self.is_whole:
            return inside
        whole = np.full((len(inside), self.height, self.width), OUTSIDE_LOGIT, np.float32)
        whole[:, self.row0 : self.row1, self.col0 : self.col1] = inside
        return whole


def prompt_box(prompt: SlicePrompt) -> tuple[float, float, float, float] | None:
    """First row, first column, last row, last column of what a prompt encloses.

    None for clicks alone: they say where the object is, not how large.
    """
    if prompt.mask is not None:
        return mask_box(prompt.mask)
    boxes = []
    if prompt.box is not None:
        box = prompt.box
        boxes.append((box.row0, box.col0, box.row1, box.col1))
    if prompt.prior is not None and (prompt.prior > 0).any():
        boxes.append(mask_box(prompt.prior > 0))
        boxes += [(p.row, p.col, p.row, p.col) for p in prompt.points if p.positive]
    if not boxes:
        return None
    rows0, cols0, rows1, cols1 = zip(*boxes, strict=True)
    return min(rows0), min(cols0), max(rows1), max(cols1)


def mask_box(mask: np.ndarray) -> tuple[float, float, float, float]:
    """First row, first column, last row, last column of a non-empty mask."""
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return float(rows[0]), float(cols[0]), float(rows[-1]), float(cols[-1])
