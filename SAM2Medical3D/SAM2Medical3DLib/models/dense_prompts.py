"""Clicks and boxes rendered as a mask prompt, which a small network reads far better than tokens.

SAM 2's decoder takes a low-resolution mask-logit image beside the sparse tokens. Here it carries
what is known so far: positive where the object is, negative where it is not, zero where nothing is
known. Official checkpoints were not trained on this and never get it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base

# Clicks, box corners and padding as sam2's prompt encoder labels them.
PADDING, NEGATIVE, POSITIVE, BOX_START, BOX_END = -1, 0, 1, 2, 3

LIMIT = 10.0
_CLICK_RADIUS = 1 / 48  # of the image side
_BOX_INSIDE = 2.0


def padding_points(network: SAM2Base) -> int:
    """How many padding points sam2 needs beside a mask prompt: enough that a network with several
    masks for ambiguous prompts answers with its single one, as a mask leaves no ambiguity."""
    return network.multimask_max_pt_num + 1 if network.multimask_output_in_sam else 1


def render_prompts(
    coords: torch.Tensor,
    labels: torch.Tensor,
    image_size: int,
    prior: torch.Tensor | None = None,
) -> torch.Tensor:
    """Render prompts over what is known so far.

    Args:
        coords: (B, N, 2) x, y in pixels of the model's square input, pixel centres at integers.
        labels: (B, N) 1 positive, 0 negative, 2 and 3 box corners (adjacent), -1 padding.
        image_size: side of the input in pixels.
        prior: (B, 1, S/4, S/4) mask logits of an earlier prediction, or None.

    Returns:
        (B, 1, S/4, S/4) float32 logits within -10..10.
    """
    side = image_size // 4
    batch = coords.shape[0]
    centres = (torch.arange(side, device=coords.device, dtype=torch.float32) + 0.5) * 4 - 0.5
    y, x = centres.view(1, side, 1), centres.view(1, 1, side)
    if prior is not None:
        dense = prior.float()[:, 0].clamp(-LIMIT, LIMIT)
    else:
        dense = torch.zeros(batch, side, side, device=coords.device)
        for n in torch.nonzero((labels == BOX_START).any(0)).flatten().tolist():
            low, high = coords[:, n, :, None, None], coords[:, n + 1, :, None, None]
            inside = (x >= low[:, 0]) & (x <= high[:, 0]) & (y >= low[:, 1]) & (y <= high[:, 1])
            box = torch.where(inside, _BOX_INSIDE, -LIMIT)
            dense = torch.where((labels[:, n] == BOX_START)[:, None, None], box, dense)
    width = 2 * (image_size * _CLICK_RADIUS) ** 2
    for n in range(coords.shape[1]):
        label = labels[:, n, None, None]
        distance = (x - coords[:, n, 0, None, None]) ** 2 + (y - coords[:, n, 1, None, None]) ** 2
        weight = torch.exp(-distance / width) * ((label == POSITIVE) | (label == NEGATIVE))
        target = torch.where(label == POSITIVE, LIMIT, -LIMIT)
        dense = dense + weight * (target - dense)
    return dense[:, None]
