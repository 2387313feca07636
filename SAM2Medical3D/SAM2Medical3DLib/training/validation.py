"""Dice of a network in training on clips that it never learns from."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F

from .clips import ClipSampler
from .noisy_masks import dice
from .prediction import FirstPrompt, Plan

_BATCH = 8


@torch.no_grad()
def validation_dice(
    module: torch.nn.Module,
    sampler: ClipSampler,
    prompts: Iterable[FirstPrompt],
    clips: int,
    device: torch.device,
) -> dict[str, float]:
    """Mean Dice of the last prediction for each kind of first prompt.

    An object that has ended counts 1 where nothing is predicted, else 0. The clips and prompts are
    the same at every call.

    Args:
        module: a :class:`~.prediction.Pass` in evaluation mode.
        sampler: of validation clips.
        clips: how many for each kind of prompt.
    """
    found: dict[str, list[float]] = {kind: [] for kind in prompts}
    for first in range(0, clips, _BATCH):
        batch = [sampler(i) for i in range(first, min(first + _BATCH, clips))]
        frames = torch.stack([torch.from_numpy(c.frames) for c in batch]).to(device)
        masks = torch.stack([torch.from_numpy(c.masks) for c in batch]).to(device).float()
        for kind, scores in found.items():
            generator = torch.Generator().manual_seed(first)
            predictions, _ = module(frames, masks, Plan(kind), generator)
            last = predictions[-1]
            size = last.target.shape[-2:]
            logits = F.interpolate(last.logits.float(), size, mode="bilinear", align_corners=False)
            scores += dice((logits > 0).float(), last.target).tolist()
    return {kind: sum(scores) / len(scores) for kind, scores in found.items()}
