"""What is known while one object is followed slice by slice in one direction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..models.dense_prompts import LIMIT
from .field_of_view import FieldOfView
from .stopping import EndWatch, StoppingRule


@dataclass(frozen=True, eq=False)
class Prediction:
    """One object on one slice as the network gave it.

    Attributes:
        logits: (1, 1, S/4, S/4) mask logits.
        view: the part of the slice that they cover.
        iou: predicted IoU, 0..1.
        presence: probability that the object is on the slice, 0..1.
    """

    logits: torch.Tensor
    view: FieldOfView
    iou: float = 1.0
    presence: float = 1.0

    @property
    def score(self) -> float:
        """Predicted IoU times presence, 0..1."""
        return self.iou * self.presence

    @property
    def is_empty(self) -> bool:
        """Whether the object is not on the slice."""
        return not bool((self.logits > 0).any())

    @property
    def meets_border(self) -> bool:
        """Whether the mask reaches a border of the view that is not the slice's."""
        return self.view.cuts((self.logits[0, 0] > 0).cpu().numpy())

    def full(self) -> np.ndarray:
        """(H, W) float32 logits of the whole slice."""
        return self.view.logits(self.logits)[0]

    def seen_through(self, view: FieldOfView, size: int) -> torch.Tensor:
        """(1, 1, S/4, S/4) logits within -10..10 for another view, as a decoder's dense prompt."""
        if view == self.view:
            return self.logits.float().clamp(-LIMIT, LIMIT)
        return view.low_resolution(self.full(), size).to(self.logits.device)

    def stored(self) -> Prediction:
        """A copy that takes half the memory, on the CPU."""
        return Prediction(self.logits.half().cpu(), self.view, self.iou, self.presence)


class Trail:
    """One object on its way from a fixed slice.

    Args:
        start: the fixed slice's prediction.
        rule: when to end.
    """

    def __init__(self, start: Prediction, rule: StoppingRule) -> None:
        self.view = start.view
        self.seen = start
        self.last: Prediction | None = start
        self.watch = EndWatch(rule)
        self.ended = start.is_empty

    def take(self, prediction: Prediction) -> None:
        """Go on to the next slice, where ``prediction`` was made."""
        shown = self.watch.shows(prediction.is_empty, prediction.score)
        if shown:
            self.seen = prediction
        self.ended = self.watch.ended(shown, prediction.score)
        kept = (shown or prediction.is_empty) and not self.ended
        self.last = prediction if kept else None
