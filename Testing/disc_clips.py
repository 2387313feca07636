"""Clips that any network can learn."""

from __future__ import annotations

import torch


def disc_clips() -> tuple[torch.Tensor, torch.Tensor]:
    """(4, 3, 64, 64) frames and masks of discs that move and shrink."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    masks = torch.stack(
        [
            torch.stack(
                [(torch.hypot(y - 30 - 2 * t, x - 24 - 4 * n) < 14 - t).float() for t in range(3)]
            )
            for n in range(4)
        ]
    )
    noise = torch.rand(masks.shape, generator=torch.Generator().manual_seed(1))
    return 0.3 + 0.4 * masks + 0.1 * noise, masks
