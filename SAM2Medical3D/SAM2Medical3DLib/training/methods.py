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
from .three_d_med_forward import ThreeDMedForward

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base

    from .recipe import Recipe


@dataclass(frozen=True)
class TrainingMethod:
    """What the trainer needs to know of a method.

    Attributes:
        make_pass: of a network and a recipe, a module that is a :class:`~.prediction.Pass`.
        memory: whether the network has SAM 2's memory.
        prompts: what it may be prompted with first.
        losses: weights of the loss terms unless a recipe says otherwise.
        heads: whether it trains SAM2-3dMed's heads.
    """

    make_pass: Callable[[SAM2Base, Recipe], torch.nn.Module]
    memory: bool
    prompts: tuple[FirstPrompt, ...]
    losses: Mapping[str, float]
    heads: bool = False


_CLIP_PROMPTS = ("mask", "noisy-mask", "box", "click")

METHODS: dict[str, TrainingMethod] = {
    # SAM 2 with its memory (Ravi et al. 2024), trained for slices.
    "sam2": TrainingMethod(
        lambda network, recipe: ClipForward(network, recipe.architecture),
        True,
        _CLIP_PROMPTS,
        FROM_SCRATCH,
    ),
    # RadSAM (Khlaut et al. 2025): focal and Dice loss and IoU regression, as SAM.
    "radsam": TrainingMethod(
        lambda network, recipe: SliceForward(network, recipe.architecture),
        False,
        ("noisy-mask", "box", "click"),
        {"focal": 20.0, "dice": 1.0, "iou": 1.0, "score": 0.1},
    ),
    # SAM2-3dMed (Yang, Xu, Tian 2025): cross-entropy, and what its heads add.
    "sam2-3dmed": TrainingMethod(
        lambda network, recipe: ThreeDMedForward(network, recipe.architecture, recipe.heads),
        True,
        _CLIP_PROMPTS,
        {"bce": 1.0},
        heads=True,
    ),
}
