"""What a user gives: points, boxes and masks on slices, for one or several objects.

All coordinates are stack coordinates of a :class:`~.geometry.StackGeometry`: slice index, row and
column, with pixel centres at integers. Everything is checked when it is made, or against the stack
by :meth:`Prompts.check`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from .errors import UserError
from .geometry import StackGeometry

CERTAIN = 10.0  # a logit as sure as a user's own mask


@dataclass(frozen=True)
class Point:
    """A click at (row, column); ``positive`` belongs to the object, otherwise to the rest."""

    row: float
    col: float
    positive: bool = True


@dataclass(frozen=True)
class Box:
    """A rectangle around the object; corners in any order, stored as the smaller ones first."""

    row0: float
    col0: float
    row1: float
    col1: float

    def __post_init__(self) -> None:
        values = (self.row0, self.col0, self.row1, self.col1)
        if not np.isfinite(values).all():
            raise UserError("The box has a corner that is not a number.")
        rows, cols = sorted((self.row0, self.row1)), sorted((self.col0, self.col1))
        if rows[0] == rows[1] or cols[0] == cols[1]:
            raise UserError("The box has no area; drag it from one corner to the opposite one.")
        for name, value in zip(("row0", "row1", "col0", "col1"), (*rows, *cols), strict=True):
            object.__setattr__(self, name, float(value))


@dataclass(frozen=True, eq=False)
class SlicePrompt:
    """All that was given for one object on one slice.

    A mask stands alone: it is the user's own drawing and comes back bit for bit. Points and a box
    may stand together, and may correct what a model said of the slice before (``prior``).

    Args:
        points: clicks.
        box: a rectangle, or None.
        mask: (H, W) bool, or None.
        prior: (H, W) float32 mask logits that the model gave for this slice before any of these
            points, which correct it; or None. Negative points alone are enough with it.

    Raises:
        UserError: nothing given, a mask beside anything else, only negative points with neither
            box nor prior, an empty mask, a prior alone or with NaN.
    """

    points: tuple[Point, ...] = ()
    box: Box | None = None
    mask: np.ndarray | None = None
    prior: np.ndarray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", tuple(self.points))
        if self.mask is not None:
            if self.points or self.box is not None or self.prior is not None:
                raise UserError("A mask stands alone on its slice: remove the points and the box.")
            mask = _slice_array(self.mask, bool, "mask prompt")
            if not mask.any():
                raise UserError("The mask prompt is empty; paint the object on its slice first.")
            object.__setattr__(self, "mask", mask)
            return
        if not self.points and self.box is None:
            what = "empty" if self.prior is None else "an earlier prediction and nothing else"
            raise UserError(f"The prompt is {what}; give a point, a box or a mask.")
        if self.prior is not None:
            prior = _slice_array(self.prior, np.float32, "prior")
            if np.isnan(prior).any():
                raise UserError("The prior of a slice holds values that are not numbers.")
            object.__setattr__(self, "prior", prior)
        elif self.box is None and not any(p.positive for p in self.points):
            raise UserError("Only negative points were given; add a positive point or a box.")

    @classmethod
    def correcting(
        cls, mask: np.ndarray, points: Iterable[Point], box: Box | None = None
    ) -> SlicePrompt:
        """Points that correct a (H, W) bool mask of which the logits are not known."""
        prior = np.where(mask, CERTAIN, -CERTAIN).astype(np.float32)
        return cls(tuple(points), box, prior=prior)


@dataclass(frozen=True, eq=False)
class Prompts:
    """Prompts by object and slice.

    Args:
        by_object: {object id: {slice index: SlicePrompt}}. Object ids are positive integers, the
            label values of the result.
    """

    by_object: Mapping[int, Mapping[int, SlicePrompt]] = field(default_factory=dict)

    @property
    def objects(self) -> tuple[int, ...]:
        """Object ids in the order they were added."""
        return tuple(self.by_object)

    @property
    def slices(self) -> tuple[int, ...]:
        """Every prompted slice, ascending."""
        return tuple(sorted({s for slices in self.by_object.values() for s in slices}))

    def add(self, object_id: int, slice_: int, prompt: SlicePrompt) -> Prompts:
        """A copy with ``prompt`` set for this object on this slice."""
        by_object = {o: dict(slices) for o, slices in self.by_object.items()}
        by_object.setdefault(int(object_id), {})[int(slice_)] = prompt
        return replace(self, by_object=by_object)

    def remove(self, object_id: int, slice_: int | None = None) -> Prompts:
        """A copy without this object's prompt on this slice, or without the object if None.

        An object that has no prompt left goes too; what is not there is no error.
        """
        by_object = {o: dict(slices) for o, slices in self.by_object.items()}
        left = by_object.get(int(object_id), {})
        left.pop(slice_, None)
        if slice_ is None or not left:
            by_object.pop(int(object_id), None)
        return replace(self, by_object=by_object)

    @classmethod
    def single(cls, slice_: int, prompt: SlicePrompt, object_id: int = 1) -> Prompts:
        """One prompt for one object."""
        return cls().add(object_id, slice_, prompt)

    @classmethod
    def from_labelmap(cls, labels: np.ndarray) -> Prompts:
        """Every label on every non-empty slice of a (slice, row, column) array as a mask prompt."""
        prompts = cls()
        for index, slice_ in enumerate(labels):
            for value in np.unique(slice_[slice_ != 0]):
                prompts = prompts.add(int(value), index, SlicePrompt(mask=slice_ == value))
        if not prompts.by_object:
            raise UserError("The mask is empty; paint the object on at least one slice.")
        return prompts

    def check(self, geometry: StackGeometry) -> None:
        """Check that everything lies inside the stack.

        Raises:
            UserError: no prompt at all, a prompt outside the volume, a mask of the wrong shape.
        """
        if not any(self.by_object.values()):
            raise UserError("There is no prompt; give a point, a box or a mask on a slice.")
        n_slices, height, width = geometry.shape
        for object_id, slices in self.by_object.items():
            if object_id < 1:
                raise UserError(f"Object {object_id}: object ids are label values from 1 up.")
            if not slices:
                raise UserError(f"Object {object_id} has no prompt.")
            for index, prompt in slices.items():
                if not 0 <= index < n_slices:
                    raise UserError(
                        f"Slice {index} lies outside the volume (0 to {n_slices - 1} along the "
                        f"{geometry.plane.value} axis)."
                    )
                for what, given in (("mask", prompt.mask), ("prior", prompt.prior)):
                    if given is not None and given.shape != (height, width):
                        raise UserError(
                            f"The {what} on slice {index} has {given.shape[0]}x{given.shape[1]} "
                            f"pixels; the slice has {height}x{width}."
                        )
                for point in prompt.points:
                    if not _inside(((point.row, point.col),), height, width):
                        raise UserError(
                            f"The point at row {point.row:g}, column {point.col:g} of slice {index}"
                            f" lies outside the {height}x{width} slice."
                        )
                box = prompt.box
                if box is not None and not _inside(
                    ((box.row0, box.col0), (box.row1, box.col1)), height, width
                ):
                    raise UserError(
                        f"The box on slice {index} reaches outside the {height}x{width} slice."
                    )


def _slice_array(given: np.ndarray, kind: type, what: str) -> np.ndarray:
    """A read-only array of one slice: a copy, unless it cannot change anyway."""
    array = np.asarray(given)
    if array.ndim != 2:
        raise UserError(f"A {what} is 2D; this one has {array.ndim} dimensions.")
    if array.dtype != kind or array.flags.writeable or array.base is not None:
        array = array.astype(kind)
        array.setflags(write=False)
    return array


def _inside(corners: Iterable[tuple[float, float]], height: int, width: int) -> bool:
    return all(-0.5 <= r <= height - 0.5 and -0.5 <= c <= width - 0.5 for r, c in corners)
