"""The loss of boundary detection, BD (SAM2-3dMed: Yang, Xu, Tian 2025)."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def boundary_loss(logits: torch.Tensor, boundary: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy with class weights: boundary pixels count N_non / N, others N_bd / N.

    N_bd and N_non are counted slice by slice, N is their sum; the mean is over all N pixels and
    then over the slices. A slice without boundary teaches nothing: its N_bd is 0.

    Args:
        logits: (B, 1, h, w).
        boundary: (B, 1, h, w) float 0 or 1.
    """
    share = boundary.mean((1, 2, 3), keepdim=True)
    weights = torch.where(boundary > 0.5, 1 - share, share)
    return F.binary_cross_entropy_with_logits(logits.float(), boundary, weight=weights)
