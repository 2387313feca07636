"""What predictions are worth."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from monai.losses import DiceLoss, FocalLoss

from .prediction import Prediction

# Weights of the terms. From scratch, a focal loss leaves a small network at empty masks.
FROM_SCRATCH = {"bce": 2.0, "dice": 1.0, "iou": 0.2, "score": 0.1}
TERMS = ("focal", "bce", "dice", "iou", "score")

_dice = DiceLoss(sigmoid=True, reduction="none", smooth_nr=1, smooth_dr=1)
_focal = FocalLoss(gamma=2, alpha=0.25)


def prediction_losses(
    predictions: list[Prediction], weights: Mapping[str, float] = FROM_SCRATCH
) -> dict[str, torch.Tensor]:
    """Loss terms, each averaged over the predictions by their weight.

    Masks are compared at the input's full resolution: focal loss, binary cross-entropy, soft Dice
    where there is an object. The IoU head learns the IoU of its own mask, the object score whether
    there is an object (SAM, appendix A; SAM 2, appendix D).

    Args:
        predictions: of one batch.
        weights: of the terms, among ``TERMS``.

    Returns:
        scalars by term and their weighted sum ``total``.
    """
    whole = sum(p.weight for p in predictions)
    sums: dict[str, torch.Tensor] = {}
    for prediction in predictions:
        for name, value in _losses(prediction, weights).items():
            sums[name] = sums.get(name, 0) + prediction.weight / whole * value
    sums["total"] = sum(weights[name] * sums[name] for name in weights)
    return sums


def _losses(prediction: Prediction, weights: Mapping[str, float]) -> dict[str, torch.Tensor]:
    target = prediction.target
    size = target.shape[-2:]
    # Clamping keeps the -1024 of slices scored as empty finite, and passes them no gradient.
    logits = F.interpolate(prediction.logits.float(), size, mode="bilinear", align_corners=False)
    logits = logits.clamp(-20, 20)
    present = (target.flatten(1).sum(1) > 0).float()
    found = {}
    if "focal" in weights:
        found["focal"] = _focal(logits, target)
    if "bce" in weights:
        found["bce"] = F.binary_cross_entropy_with_logits(logits, target)
    if "dice" in weights:
        dice = _dice(logits, target).flatten() * present
        found["dice"] = dice.sum() / present.sum().clamp(min=1)
    if "iou" in weights:
        found["iou"] = F.mse_loss(prediction.iou.float(), hard_iou(logits, target))
    if "score" in weights:
        found["score"] = F.binary_cross_entropy_with_logits(prediction.score.float(), present)
    return found


@torch.no_grad()
def hard_iou(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """(B,) IoU of the masks of (B, 1, S, S) logits; 1 where both are empty."""
    hard = (logits > 0).float()
    shared = (hard * target).flatten(1).sum(1)
    union = (hard + target).clamp(max=1).flatten(1).sum(1)
    return torch.where(union > 0, shared / union.clamp(min=1), torch.ones_like(union))
