"""How each method is trained: one row each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from .clip_forward import ClipForward
from .losses import FROM_SCRATCH
from .prediction import FirstPrompt
from .slice_forward import SliceForward

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base

    from ..models.architecture import Architecture


@dataclass(frozen=True)
class TrainingMethod:
    """What the trainer needs to know of a method.

    Attributes:
        make_pass: of a network and its architecture, a module that is a :class:`~.prediction.Pass`.
        memory: whether the network has SAM 2's memory.
        prompts: what it may be prompted with first.
        losses: weights of the loss terms unless a recipe says otherwise.
    """

    make_pass: Callable[[SAM2Base, Architecture], torch.nn.Module]
    memory: bool
    prompts: tuple[FirstPrompt, ...]
    losses: Mapping[str, float]


METHODS: dict[str, TrainingMethod] = {
    # SAM 2 with its memory (Ravi et al. 2024), trained for slices.
    "sam2": TrainingMethod(ClipForward, True, ("mask", "noisy-mask", "box", "click"), FROM_SCRATCH),
    # RadSAM (Khlaut et al. 2025): focal and Dice loss and IoU regression, as SAM.
    "radsam": TrainingMethod(
        SliceForward,
        False,
        ("noisy-mask", "box", "click"),
        {"focal": 20.0, "dice": 1.0, "iou": 1.0, "score": 0.1},
    ),
}
