"""SAM 2.1 with a branch that detects the object's boundary and refines the mask with it.

The BD branch of SAM2-3dMed (Yang, Xu, Tian 2025, section on boundary detection): beside the mask
decoder a branch predicts the boundary of the mask; its features ask the slice's features by
cross-attention, and what comes of it refines the mask. The paper gives the data flow; widths,
resolutions and the residual form are ours. Tensor names are those of SAM 2.1 but for ``boundary.``,
so any of its checkpoints can start it.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from sam2.modeling.sam.transformer import Attention
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.sam2_utils import LayerNorm2d
from torch import nn

from .dense_prompts import LIMIT

BRANCH = "boundary."  # prefix of the branch's tensors


class BoundaryNetwork(SAM2Base):
    """A ``SAM2Base`` whose masks are refined at their boundary, in training and at inference.

    Takes what ``SAM2Base`` takes, and ``boundary_dim``, the width of the branch. With ``refines``
    set to False the masks are the mask decoder's own, and the boundary is still predicted.

    What ``_track_step`` returns first, a dictionary, has one more entry: ``boundary``, the (B, 1,
    S/4, S/4) logits of a pixel lying on the boundary. Of a mask that a user drew, which is its own
    output, that is the mask's own boundary.
    """

    def __init__(self, *, boundary_dim: int, **options: Any) -> None:
        super().__init__(**options)
        self.boundary = BoundaryBranch(self.hidden_dim, boundary_dim)
        self.refines = True

    def _track_step(self, *step: Any) -> tuple:
        current, heads, fine, features = super()._track_step(*step)
        drawn = current["mask_inputs"]
        if drawn is not None and self.use_mask_input_as_output_without_sam:
            current["boundary"] = (2 * boundary_of(drawn.float()) - 1) * LIMIT
            return current, heads, fine, features
        every_low, every_high, ious, low, high, pointer, score = heads
        positions = self.sam_prompt_encoder.get_dense_pe()
        current["boundary"], change = self.boundary(features, fine, low, positions)
        if self.refines:
            # The decoder's -1024 where it sees no object must stay what it is.
            refined = torch.where((score > 0)[..., None, None], low + change, low)
            if every_low.shape[1] == 1:
                every_low = refined
            low = refined
            high = F.interpolate(low, high.shape[-2:], mode="bilinear", align_corners=False)
            if every_high.shape[1] == 1:
                every_high = high
        return current, (every_low, every_high, ious, low, high, pointer, score), fine, features


class BoundaryBranch(nn.Module):
    """Predicts the boundary of a mask, and what to add to its logits.

    Boundary features are found at S/4 from the slice's features of all three strides and the mask
    decoder's mask. At S/8 they are the queries of a cross-attention whose keys and values are the
    slice's features at S/16, as the decoder had them. Back at S/4 the fused features and the
    boundary features give the change of the logits; its last layer begins at zero, so an untrained
    branch changes nothing.

    Args:
        model_dim: channels C of the features at S/16; those at S/4 and S/8 have C/8 and C/4.
        width: channels of the boundary features.
    """

    def __init__(self, model_dim: int, width: int) -> None:
        super().__init__()
        fused = 2 * width
        self.from_fine = nn.Conv2d(model_dim // 8, width, 1)
        self.from_middle = nn.Conv2d(model_dim // 4, width, 1)
        self.from_coarse = nn.Conv2d(model_dim, width, 1)
        self.from_mask = nn.Conv2d(2, width, 3, padding=1)
        self.body = nn.Sequential(
            LayerNorm2d(width),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
            LayerNorm2d(width),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
        )
        self.map = nn.Sequential(LayerNorm2d(width), nn.GELU(), nn.Conv2d(width, 1, 1))
        self.queries = nn.Conv2d(width, fused, 2, stride=2)
        self.query_norm = nn.LayerNorm(fused)
        self.query_positions = nn.Conv2d(model_dim, fused, 1)
        self.attention = Attention(fused, num_heads=4, kv_in_dim=model_dim)
        self.feedforward = nn.Sequential(
            nn.LayerNorm(fused), nn.Linear(fused, 2 * fused), nn.GELU(), nn.Linear(2 * fused, fused)
        )
        self.back = nn.ConvTranspose2d(fused, width, 2, stride=2)
        self.change = nn.Sequential(
            nn.Conv2d(2 * width, width, 3, padding=1),
            LayerNorm2d(width),
            nn.GELU(),
            nn.Conv2d(width, 1, 3, padding=1),
        )
        nn.init.zeros_(self.change[-1].weight)
        nn.init.zeros_(self.change[-1].bias)

    def forward(
        self,
        features: torch.Tensor,
        fine: list[torch.Tensor],
        logits: torch.Tensor,
        positions: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Boundary logits and the change of the mask's logits, both (B, 1, S/4, S/4) float32.

        Args:
            features: (B, C, S/16, S/16), conditioned on memory where there is memory.
            fine: (B, C/8, S/4, S/4) and (B, C/4, S/8, S/8).
            logits: (B, 1, S/4, S/4) of the mask decoder.
            positions: (1, C, S/16, S/16) position encoding of the features.
        """
        size = logits.shape[-2:]
        mask = logits.float().clamp(-LIMIT, LIMIT)
        found = self.from_fine(fine[0])
        found = found + self.from_mask(torch.cat([mask / LIMIT, mask.sigmoid()], 1))
        for layer, coarser in ((self.from_middle, fine[1]), (self.from_coarse, features)):
            found = found + _resized(layer(coarser), size)
        found = found + self.body(found)
        fused = self._fused(found, features, positions)
        change = self.change(torch.cat([found, fused], 1))
        return self.map(found).float(), change.float()

    def _fused(
        self, found: torch.Tensor, features: torch.Tensor, positions: torch.Tensor
    ) -> torch.Tensor:
        """Cross-attention: boundary features ask the slice's features."""
        queries = self.queries(found)
        side = queries.shape[-2:]
        where = _flat(_resized(self.query_positions(positions), side))
        queries = _flat(queries)
        answer = self.attention(
            q=self.query_norm(queries) + where, k=_flat(features + positions), v=_flat(features)
        )
        queries = queries + answer
        queries = queries + self.feedforward(queries)
        return self.back(queries.transpose(1, 2).unflatten(2, side))


def boundary_of(masks: torch.Tensor) -> torch.Tensor:
    """Where the boundary of binary masks passes, at a quarter of their resolution.

    The morphological gradient (dilation minus erosion with a 3 x 3 square) at full resolution; a
    low-resolution pixel is boundary if any of its 4 x 4 pixels is. Where a mask is cut off by the
    edge of the image there is no boundary.

    Args:
        masks: (B, 1, S, S) float 0 or 1.

    Returns:
        (B, 1, S/4, S/4) float 0 or 1.
    """
    dilated = F.max_pool2d(masks, 3, 1, 1)
    eroded = -F.max_pool2d(-masks, 3, 1, 1)
    return F.max_pool2d(dilated - eroded, 4)


def _flat(maps: torch.Tensor) -> torch.Tensor:
    """(B, C, h, w) to (B, hw, C)."""
    return maps.flatten(2).transpose(1, 2)


def _resized(maps: torch.Tensor, size: torch.Size) -> torch.Tensor:
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)
