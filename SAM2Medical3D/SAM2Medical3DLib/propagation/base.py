"""The interface of a propagation method. A new method is one file beside this one and one row in
``registry.py``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ..errors import UserError
from ..geometry import StackGeometry
from ..prompts import Prompts
from ..volume import SliceStack

if TYPE_CHECKING:
    from .field_of_view import FieldOfView


class Direction(StrEnum):
    """Where a propagation goes from the prompted slices; forward is towards higher slices."""

    BOTH = "both"
    FORWARD = "forward"
    BACKWARD = "backward"


@dataclass(frozen=True)
class Span:
    """Which slices a propagation may write.

    Between two prompted slices of an object every slice is written whatever the direction, which
    then only says from which of them the results come first.

    Args:
        direction: from the prompted slices towards higher slices, lower ones, or both.
        first, last: inclusive limits in stack coordinates; None is the end of the stack.
    """

    direction: Direction = Direction.BOTH
    first: int | None = None
    last: int | None = None

    def limits(self, n_slices: int) -> tuple[int, int]:
        """First and last slice as numbers.

        Raises:
            UserError: if they are outside the stack or the wrong way round.
        """
        first = 0 if self.first is None else self.first
        last = n_slices - 1 if self.last is None else self.last
        if not 0 <= first <= last < n_slices:
            raise UserError(
                f"The slice range {first} to {last} is not inside 0 to {n_slices - 1}, "
                "lower end first."
            )
        return first, last


EVERYWHERE = Span()


def confidence(is_empty: bool, predicted_iou: float, object_score: float) -> float:
    """0..1: the predicted IoU where the object is, the certainty of its absence where the mask is
    empty."""
    if is_empty:
        return float(1 - object_score)
    return float(predicted_iou * max(object_score, 0.5))


@dataclass(frozen=True, eq=False)
class ObjectResult:
    """One object on one slice.

    Attributes:
        mask: (H, W) bool at the slice's own resolution.
        predicted_iou: the model's own estimate of the mask's IoU, 0..1; 1 for the user's own mask.
        object_score: probability, 0..1, that the object is on this slice at all.
        prompted: the slice carries a prompt for this object.
        logits: (H, W) float32 mask logits (mask is logits > 0 except where the user's own mask
            stands), or None unless asked for.
        view: the part of the slice that the model looked at, or None where it did not look. Given
            back to a propagator as one of ``views``, its embedding is used again.
        boundary: (H, W) float32 probability, 0..1, that the mask's boundary passes here, where a
            method that detects it was asked for it.
    """

    mask: np.ndarray
    predicted_iou: float
    object_score: float
    prompted: bool = False
    logits: np.ndarray | None = None
    view: FieldOfView | None = None
    boundary: np.ndarray | None = None

    @property
    def confidence(self) -> float:
        """0..1: how far to trust this slice.

        See :func:`confidence`.
        """
        return confidence(not self.mask.any(), self.predicted_iou, self.object_score)


@dataclass(frozen=True, eq=False)
class SliceResult:
    """All objects on one slice: {object id: ObjectResult}.

    A later result for the same slice replaces an earlier one.
    """

    index: int
    objects: Mapping[int, ObjectResult]


Views = Mapping[int, "FieldOfView"]


class Propagator(Protocol):
    """A method that carries prompts through a stack of slices."""

    def predict_slice(
        self,
        stack: SliceStack,
        prompts: Prompts,
        index: int,
        *,
        views: Views | None = None,
    ) -> SliceResult:
        """2D masks of the prompted objects on one prompted slice, without propagating."""
        ...

    def propagate(
        self,
        stack: SliceStack,
        prompts: Prompts,
        span: Span = EVERYWHERE,
        *,
        with_logits: bool = False,
        views: Views | None = None,
    ) -> Iterator[SliceResult]:
        """Results slice by slice; closing the iterator stops the work and frees its memory.

        Args:
            stack: the slices.
            prompts: what the user gave.
            span: which slices may be written.
            with_logits: give mask logits too.
            views: {object id: what to look at first}, where earlier results should be reused;
                objects without one get a view from their prompts.

        Raises:
            UserError: if prompts or span do not fit the stack (before the first result).
        """
        ...


def collect(results: Iterable[SliceResult], geometry: StackGeometry) -> dict[int, np.ndarray]:
    """All results as {object id: (slice, row, column) bool}; slices without result stay empty."""
    masks: dict[int, np.ndarray] = {}
    for result in results:
        for object_id, found in result.objects.items():
            if object_id not in masks:
                masks[object_id] = np.zeros(geometry.shape, bool)
            masks[object_id][result.index] = found.mask
    return masks
