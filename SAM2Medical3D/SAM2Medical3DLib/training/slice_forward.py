"""One differentiable pass of a 2D promptable network over single slices (RadSAM, section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from ..models.dense_prompts import LIMIT, padding_points, render_prompts
from ..models.normalisation import normalise
from .noisy_masks import NOISE, Noise, as_prompt, noisy_masks
from .prediction import Plan, Prediction
from .simulated_prompts import (
    PointInputs,
    no_points,
    sample_box,
    sample_clicks,
    sample_correction,
)

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base

    from ..models.architecture import Architecture

_OWN_PREDICTION = 0.3  # of the noisy masks are what the model itself makes of the neighbour


class SliceForward(torch.nn.Module):
    """Trains a network as RadSAM: a first prompt, then rounds of corrective clicks, on one slice.

    Clips give each slice a neighbour: with a noisy mask as first prompt, the target is any slice of
    the clip, also one beyond the object's end, and the mask is that of another slice.
    """

    def __init__(self, network: SAM2Base, architecture: Architecture, noise: Noise = NOISE) -> None:
        super().__init__()
        self.network, self.architecture, self.noise = network, architecture, noise

    def forward(
        self,
        frames: torch.Tensor,
        masks: torch.Tensor,
        plan: Plan,
        generator: torch.Generator,
        spacing: torch.Tensor | None = None,
    ) -> tuple[list[Prediction], Mapping[str, torch.Tensor]]:
        """See :class:`~.prediction.Pass`. ``mask`` is not a first prompt here: it is the output."""
        rows = torch.arange(len(frames), device=frames.device)
        if plan.first == "noisy-mask":
            slices, neighbours = _slices_with_neighbours(masks, generator)
            prior = self._noisy_prior(
                frames[rows, neighbours], masks[rows, neighbours, None], generator
            )
            points = self._mask_only(frames)
            target = masks[rows, slices, None]
        else:
            slices = torch.zeros_like(rows)
            target, prior = masks[:, :1], None
            points = (
                sample_clicks(target > 0.5, generator)
                if plan.first == "click"
                else sample_box(target[:, 0] > 0.5, generator)
            )
        features = self._encode(frames[rows, slices])
        predictions = []
        for round_ in range(plan.corrections + 1):
            made = self._decode(features, points, prior, target, 1 / (plan.corrections + 1))
            predictions.append(made)
            if round_ < plan.corrections:
                prior = made.logits.detach().clamp(-LIMIT, LIMIT)
                click = sample_correction(prior, target, target.shape[-1], generator)
                points = {k: torch.cat([points[k], click[k]], dim=1) for k in points}
        return predictions, {}

    def _noisy_prior(
        self, frames: torch.Tensor, masks: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """(B, 1, S/4, S/4) logits of the neighbour's mask with noise, or as the model predicts it
        from a noisy mask, for the whole batch alike."""
        own = torch.rand(1, generator=generator).item() < _OWN_PREDICTION
        prior = as_prompt(noisy_masks(masks, generator, self.noise), generator)
        if not own:
            return prior
        training = self.network.training
        self.network.eval()
        with torch.no_grad():
            points = self._mask_only(masks)
            made = self._decode(self._encode(frames), points, prior, masks, 1.0)
        self.network.train(training)
        found = (made.logits > 0).flatten(1).any(1)[:, None, None, None]
        return torch.where(found, made.logits.clamp(-LIMIT, LIMIT), prior)

    def _mask_only(self, batch: torch.Tensor) -> PointInputs:
        """What stands for points beside a mask, as at inference."""
        return no_points(len(batch), batch.device, padding_points(self.network))

    def _encode(self, frames: torch.Tensor) -> tuple[list, list, list]:
        out = self.network.forward_image(normalise(frames))
        return self.network._prepare_backbone_features(out)[1:]

    def _decode(
        self,
        features: tuple[list, list, list],
        points: PointInputs,
        prior: torch.Tensor | None,
        target: torch.Tensor,
        weight: float,
    ) -> Prediction:
        size = self.network.image_size
        dense = prior
        if self.architecture.dense_prompts:
            dense = render_prompts(points["point_coords"], points["point_labels"], size, prior)
        _, sam, _, _ = self.network._track_step(
            0, True, *features, points, None, {}, 1, False, dense
        )
        _, _, ious, low, _, _, score = sam
        return Prediction(target, low, ious.amax(1), score[:, 0], weight)


def _slices_with_neighbours(
    masks: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """A target slice of each clip and another slice, at most two away, that shows the object.

    Args:
        masks: (B, T, S, S), not empty on slice 0. With T = 1 both are slice 0.
    """
    shown = masks.flatten(2).any(2).cpu()
    length = masks.shape[1]
    offset = torch.arange(length)[:, None] - torch.arange(length)[None]
    near = ((offset.abs() <= 2) & ((offset != 0) | (length == 1))).float()
    pairs = near[None] * shown[:, None].float()  # target, neighbour
    # Neighbouring slices are what inference meets most.
    pairs = pairs * torch.where(offset.abs() <= 1, 1.0, 0.6)
    # Every run of inference meets two ends; clips, cut around the middle, show few.
    pairs = pairs * torch.where(shown, 1.0, 8.0)[:, :, None]
    drawn = torch.multinomial(pairs.flatten(1), 1, generator=generator)[:, 0].to(masks.device)
    return drawn // length, drawn % length
