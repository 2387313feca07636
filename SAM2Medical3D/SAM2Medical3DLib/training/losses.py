"""What a clip's predictions are worth."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .clip_forward import Prediction


def clip_losses(predictions: list[Prediction], masks: torch.Tensor) -> dict[str, torch.Tensor]:
    """Loss terms, each averaged over the predictions by their weight.

    Masks are compared at the input's full resolution by binary cross-entropy and soft Dice; the
    focal loss of SAM's own recipe leaves a small network at empty masks. The IoU head learns the
    IoU of its own mask, the object score whether there is an object.

    Args:
        predictions: of one clip batch.
        masks: (B, T, S, S) float 0 or 1.

    Returns:
        scalars ``bce``, ``dice``, ``iou``, ``score`` and their weighted sum ``total``.
    """
    sums = dict.fromkeys(("bce", "dice", "iou", "score"), masks.new_zeros(()))
    weight = sum(p.weight for p in predictions)
    for prediction in predictions:
        terms = _slice_losses(prediction, masks[:, prediction.t])
        sums = {k: sums[k] + prediction.weight / weight * terms[k] for k in sums}
    sums["total"] = 2 * sums["bce"] + sums["dice"] + 0.2 * sums["iou"] + 0.1 * sums["score"]
    return sums


def _slice_losses(prediction: Prediction, target: torch.Tensor) -> dict[str, torch.Tensor]:
    size = target.shape[-2:]
    # Clamping keeps the -1024 of slices scored as empty finite, and passes them no gradient.
    logits = F.interpolate(prediction.logits.float(), size, mode="bilinear", align_corners=False)
    logits = logits[:, 0].clamp(-20, 20)
    probability = logits.sigmoid()
    present = (target.flatten(1).sum(1) > 0).float()
    overlap = (probability * target).flatten(1).sum(1)
    both = probability.flatten(1).sum(1) + target.flatten(1).sum(1)
    dice = (1 - (2 * overlap + 1) / (both + 1)) * present
    with torch.no_grad():
        hard = (logits > 0).float()
        shared = (hard * target).flatten(1).sum(1)
        union = (hard + target).clamp(max=1).flatten(1).sum(1)
        iou = torch.where(union > 0, shared / union.clamp(min=1), torch.ones_like(union))
    return {
        "bce": F.binary_cross_entropy_with_logits(logits, target),
        "dice": dice.sum() / present.sum().clamp(min=1),
        "iou": F.mse_loss(prediction.iou.float(), iou),
        "score": F.binary_cross_entropy_with_logits(prediction.score.float(), present),
    }
