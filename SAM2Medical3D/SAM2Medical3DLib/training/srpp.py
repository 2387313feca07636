"""Slice relative position prediction, SRPP (SAM2-3dMed: Yang, Xu, Tian 2025).

Self-supervised and for training only: from the image features of the slices of a clip a small head
tells how far each slice is from each other one.
"""

from __future__ import annotations

import torch
from torch import nn


class RelativePositionHead(nn.Module):
    """Each slice's features pooled, a Transformer encoder across slices, an MLP over ordered pairs.

    The encoder knows nothing of the slices' order: with position encodings the answer would be its
    input. Without anything, a clip and its reverse would be the same set of slices with offsets of
    opposite sign, and as training sees anatomy in both directions the best answer would be zero. So
    the clip's first slice, which is the prompted one, is marked, and offsets count along the clip,
    away from it: the same task in either direction of anatomy, and the one that propagation has.

    Args:
        model_dim: channels of the features.
        width, layers: of the Transformer encoder.
    """

    def __init__(self, model_dim: int, width: int = 64, layers: int = 2) -> None:
        super().__init__()
        self.project = nn.Linear(model_dim, width)
        self.first = nn.Parameter(torch.randn(width) * 0.5)
        # No dropout: with frozen features the network's own training then stays as without SRPP.
        layer = nn.TransformerEncoderLayer(
            width, 4, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.pairs = nn.Sequential(nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, 1))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B, D, C, h, w) image features of D slices to (B, D, D) float32: at [i, j] the offset of
        slice j from slice i."""
        # Offsets up to 11 are compared by their squares: too much for half precision.
        with torch.autocast(features.device.type, enabled=False):
            slices = self.project(features.float().mean((-2, -1)))
            first = torch.zeros(slices.shape[1], 1, device=slices.device)
            first[0] = 1
            slices = self.norm(self.encoder(slices + first * self.first))
            length = slices.shape[1]
            i = slices[:, :, None].expand(-1, -1, length, -1)
            j = slices[:, None].expand(-1, length, -1, -1)
            return self.pairs(torch.cat([i, j], -1))[..., 0]


def slice_offsets(
    length: int, spacing: torch.Tensor | None = None, reference_mm: float = 1.0
) -> torch.Tensor:
    """What is to be predicted: at [i, j] the offset j - i along the clip.

    Args:
        length: slices D of a clip.
        spacing: (B,) millimetres between the slices; offsets are then (j - i) * spacing /
            reference_mm, for slice thickness differs between volumes (ours). None counts slices,
            as published.
        reference_mm: the distance that counts as one.

    Returns:
        (1, D, D), or (B, D, D) with spacing, float32.
    """
    index = torch.arange(length, dtype=torch.float32)
    offsets = (index[None] - index[:, None])[None]
    if spacing is None:
        return offsets
    return offsets.to(spacing) * (spacing.float() / reference_mm)[:, None, None]


def relative_position_loss(predicted: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """Mean over the D(D - 1) ordered pairs of the squared error of their offset.

    Args:
        predicted: (B, D, D) with D > 1.
        offsets: (B, D, D) or (1, D, D).
    """
    length = predicted.shape[-1]
    pairs = ~torch.eye(length, dtype=torch.bool, device=predicted.device)
    return ((predicted - offsets.to(predicted)) ** 2)[:, pairs].mean()
