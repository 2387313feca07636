"""One differentiable pass of SAM2-3dMed over clips (Yang, Xu, Tian 2025): masks, SRPP and BD."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from ..models.boundary_network import boundary_of
from .boundary_loss import boundary_loss
from .clip_forward import ClipForward
from .heads import Heads
from .prediction import Plan, Prediction
from .srpp import RelativePositionHead, relative_position_loss, slice_offsets

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base

    from ..models.architecture import Architecture


class ThreeDMedForward(ClipForward):
    """:class:`~.clip_forward.ClipForward` with the losses of SAM2-3dMed's two heads.

    SRPP reads the image encoder's features at S/16, before any memory. Where the whole encoder is
    frozen it can therefore not change a mask; where its neck is trained it can.
    """

    def __init__(self, network: SAM2Base, architecture: Architecture, heads: Heads) -> None:
        super().__init__(network, architecture)
        self.heads = heads
        self.srpp = RelativePositionHead(network.hidden_dim) if heads.srpp else None

    def forward(
        self,
        frames: torch.Tensor,
        masks: torch.Tensor,
        plan: Plan,
        generator: torch.Generator,
        spacing: torch.Tensor | None = None,
    ) -> tuple[list[Prediction], Mapping[str, torch.Tensor]]:
        """See :class:`~.prediction.Pass`; the losses are ``srpp`` and ``bd``, weighted."""
        features = self._encode(frames)
        predictions = self._predictions(features, masks, plan, generator)
        losses: dict[str, torch.Tensor] = {}
        if not self.network.training:
            return predictions, losses
        if self.srpp is not None:
            millimetres = spacing if self.heads.unit == "mm" else None
            offsets = slice_offsets(frames.shape[1], millimetres, self.heads.reference_mm)
            found = self.srpp(features[-1])
            losses["srpp"] = self.heads.srpp * relative_position_loss(found, offsets)
        if self.heads.bd:
            whole = sum(p.weight for p in predictions)
            losses["bd"] = self.heads.bd * sum(
                p.weight / whole * boundary_loss(p.boundary, boundary_of(p.target))
                for p in predictions
            )
        return predictions, losses
