"""What SAM2-3dMed trains beside the masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..errors import UserError

UNITS = ("slices", "mm")


@dataclass(frozen=True)
class Heads:
    """The two heads of SAM2-3dMed; the weights are the published ones.

    Attributes:
        srpp: weight of the slice relative position prediction; 0 leaves the head out.
        bd: weight of the boundary detection; 0 leaves its loss out. Without its branch
            (``boundary_dim`` of the architecture) it must be 0.
        unit: what SRPP's offsets count: slices (as published) or millimetres (ours).
        reference_mm: millimetres that count as one.

    Raises:
        UserError: for a negative weight, an unknown unit, a reference that is not above 0.
    """

    srpp: float = 0.01
    bd: float = 0.1
    unit: Literal["slices", "mm"] = "slices"
    reference_mm: float = 3.0

    def __post_init__(self) -> None:
        if min(self.srpp, self.bd) < 0:
            raise UserError("The weights of the heads, srpp and bd, cannot be negative.")
        if self.unit not in UNITS:
            raise UserError(f"Unknown unit '{self.unit}' of srpp; use {' or '.join(UNITS)}.")
        if self.reference_mm <= 0:
            raise UserError(f"reference_mm is {self.reference_mm:g}; it must be above 0.")
