"""Where a propagation slice by slice ends."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UserError


@dataclass(frozen=True)
class StoppingRule:
    """When an object has come to its end.

    A slice is *empty* when nothing is found on it, and *poor* when it is empty or its score (the
    predicted IoU times the probability that the object is there) is below ``lowest_score``. The
    object has ended once more than ``bridge`` slices in a row are empty, or ``poor_slices`` in a
    row are poor. Until then an empty slice is bridged: the last mask that was seen goes on as the
    next slice's prompt; the object is believed to be back only where the score is at least
    ``return_score``. RadSAM as published ends at the first empty prediction (``bridge=0`` and
    ``lowest_score=0``).

    Args:
        lowest_score: 0..1; 0 leaves the score out.
        poor_slices: from 1.
        bridge: from 0.
        return_score: 0..1.

    Raises:
        UserError: for values outside these ranges.
    """

    lowest_score: float = 0.3
    poor_slices: int = 3
    bridge: int = 1
    return_score: float = 0.5

    def __post_init__(self) -> None:
        for score in (self.lowest_score, self.return_score):
            if not 0 <= score <= 1:
                raise UserError(f"The stopping score {score:g} must be from 0 to 1.")
        if self.poor_slices < 1:
            raise UserError("The number of poor slices that end an object must be at least 1.")
        if self.bridge < 0:
            raise UserError("The number of empty slices to bridge must not be negative.")


@dataclass
class EndWatch:
    """Follows one object along one direction and says when it has ended."""

    rule: StoppingRule
    empty: int = 0
    poor: int = 0

    def shows(self, is_empty: bool, score: float) -> bool:
        """Whether the next slice shows the object, given what was predicted there."""
        return not is_empty and (self.empty == 0 or score >= self.rule.return_score)

    def ended(self, shown: bool, score: float) -> bool:
        """Whether the object ends here, given what the next slice shows."""
        self.empty = 0 if shown else self.empty + 1
        self.poor = 0 if shown and score >= self.rule.lowest_score else self.poor + 1
        return self.empty > self.rule.bridge or self.poor >= self.rule.poor_slices
