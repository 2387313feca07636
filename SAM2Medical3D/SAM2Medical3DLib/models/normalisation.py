"""Greys to the input of SAM 2's image encoder."""

from __future__ import annotations

import torch

# ImageNet statistics, as SAM 2's own frame loader.
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


def normalise(frames: torch.Tensor) -> torch.Tensor:
    """(N, S, S) greys in 0..1 to (N, 3, S, S), the grey in each channel."""
    mean = frames.new_tensor(_MEAN).view(1, 3, 1, 1)
    std = frames.new_tensor(_STD).view(1, 3, 1, 1)
    return (frames[:, None].expand(-1, 3, -1, -1) - mean) / std
