"""What a training pass hands to the losses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import torch

FirstPrompt = Literal["mask", "noisy-mask", "box", "click"]


@dataclass(frozen=True)
class Plan:
    """What is prompted in a step: the first prompt and the number of corrective clicks."""

    first: FirstPrompt
    corrections: int = 0


@dataclass
class Prediction:
    """A supervised output.

    Attributes:
        target: (B, 1, S, S) float 0 or 1.
        logits: (B, 1, S/4, S/4) mask logits.
        iou: (B,) predicted IoU.
        score: (B,) logit of the object being there.
        weight: scales its loss.
        boundary: (B, 1, S/4, S/4) logits of the mask's boundary, where the network detects it.
    """

    target: torch.Tensor
    logits: torch.Tensor
    iou: torch.Tensor
    score: torch.Tensor
    weight: float = 1.0
    boundary: torch.Tensor | None = None


class Pass(Protocol):
    """A differentiable pass of a network over a batch: one per method, a torch module.

    Its submodule ``network`` is what is exported; what else it holds serves training only. A new
    method is one class like this and one row in ``methods.py``.
    """

    def __call__(
        self,
        frames: torch.Tensor,
        masks: torch.Tensor,
        plan: Plan,
        generator: torch.Generator,
        spacing: torch.Tensor | None = None,
    ) -> tuple[list[Prediction], Mapping[str, torch.Tensor]]:
        """Predictions, and losses that only this method has (already weighted).

        Args:
            frames: (B, T, S, S) in 0..1.
            masks: (B, T, S, S) float 0 or 1; the object is on slice 0.
            plan: what is prompted.
            generator: on the CPU; source of everything random.
            spacing: (B,) millimetres between the slices; None in validation.
        """
        ...
