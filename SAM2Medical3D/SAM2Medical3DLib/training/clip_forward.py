"""One differentiable pass of a SAM 2.1 network over clips of consecutive slices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from ..models.dense_prompts import LIMIT, render_prompts
from ..models.normalisation import normalise
from .noisy_masks import as_prompt, noisy_masks
from .prediction import Plan, Prediction
from .simulated_prompts import no_points, sample_box, sample_clicks, sample_correction

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base

    from ..models.architecture import Architecture


class ClipForward(torch.nn.Module):
    """Runs a network over clips the way the propagator does, collecting what can be supervised."""

    def __init__(self, network: SAM2Base, architecture: Architecture) -> None:
        super().__init__()
        self.network = network
        self.architecture = architecture

    def forward(
        self,
        frames: torch.Tensor,
        masks: torch.Tensor,
        plan: Plan,
        generator: torch.Generator,
        spacing: torch.Tensor | None = None,
    ) -> tuple[list[Prediction], Mapping[str, torch.Tensor]]:
        """See :class:`~.prediction.Pass`: a prediction for every slice that the decoder ran on.

        ``mask`` as first prompt is the object's own mask and is not predicted.
        """
        return self._predictions(self._encode(frames), masks, plan, generator), {}

    def _predictions(
        self,
        features: list[torch.Tensor],
        masks: torch.Tensor,
        plan: Plan,
        generator: torch.Generator,
    ) -> list[Prediction]:
        batch, length = masks.shape[:2]
        outputs: dict[str, dict[int, dict]] = {
            "cond_frame_outputs": {},
            "non_cond_frame_outputs": {},
        }
        predictions: list[Prediction] = []
        if plan.first == "mask":
            previous = self._step(features, 0, outputs, length, mask=masks[:, :1])
        else:
            previous, made = self._prompted(features, masks, plan, length, generator)
            predictions += made
        outputs["cond_frame_outputs"][0] = previous
        for t in range(1, length):
            points = prior = None
            if self.architecture.carry_mask:
                points = no_points(batch, masks.device)
                prior = previous["pred_masks"].detach().clamp(-LIMIT, LIMIT)
            previous = self._step(features, t, outputs, length, points=points, prior=prior)
            outputs["non_cond_frame_outputs"][t] = previous
            predictions.append(_prediction(masks[:, t : t + 1], previous))
        return predictions

    def _prompted(
        self,
        features: list[torch.Tensor],
        masks: torch.Tensor,
        plan: Plan,
        length: int,
        generator: torch.Generator,
    ) -> tuple[dict, list[Prediction]]:
        """Slice 0 from a click, a box or a noisy mask, with corrective clicks."""
        corrections = plan.corrections
        size = self.network.image_size
        target = masks[:, :1]
        prior = None
        if plan.first == "click":
            points = sample_clicks(target > 0.5, generator)
        elif plan.first == "box":
            points = sample_box(target[:, 0] > 0.5, generator)
        else:
            points = no_points(len(masks), masks.device)
            prior = as_prompt(noisy_masks(target, generator), generator)
        predictions = []
        empty = {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}
        for round_ in range(corrections + 1):
            dense = prior
            if self.architecture.dense_prompts:
                dense = render_prompts(points["point_coords"], points["point_labels"], size, prior)
            output = self._step(
                features,
                0,
                empty,
                length,
                points=points,
                prior=dense,
                memory=length > 1 and round_ == corrections,
            )
            predictions.append(_prediction(target, output, 1 / (corrections + 1)))
            if round_ < corrections:
                prior = output["pred_masks"].detach().clamp(-LIMIT, LIMIT)
                click = sample_correction(prior, target, size, generator)
                points = {k: torch.cat([points[k], click[k]], dim=1) for k in points}
        return output, predictions

    def _encode(self, frames: torch.Tensor) -> list[torch.Tensor]:
        batch, length, size, _ = frames.shape
        out = self.network.forward_image(normalise(frames.reshape(-1, size, size)))
        self._positions = out["vision_pos_enc"]
        return [f.unflatten(0, (batch, length)) for f in out["backbone_fpn"]]

    def _step(
        self,
        features: list[torch.Tensor],
        t: int,
        outputs: dict,
        length: int,
        *,
        points: dict | None = None,
        mask: torch.Tensor | None = None,
        prior: torch.Tensor | None = None,
        memory: bool = True,
    ) -> dict:
        net = self.network
        batch = features[-1].shape[0]
        _, vision, positions, sizes = net._prepare_backbone_features(
            {
                "backbone_fpn": [f[:, t] for f in features],
                "vision_pos_enc": [p[:batch] for p in self._positions],
            }
        )
        current, sam, _, _ = net._track_step(
            t, t == 0, vision, positions, sizes, points, mask, outputs, length, False, prior
        )
        _, _, ious, low, high, pointer, score = sam
        current.update(pred_masks=low, obj_ptr=pointer, ious=ious, score=score)
        net._encode_memory_in_output(
            vision, sizes, points if t == 0 else None, memory, high, score, current
        )
        return current


def _prediction(target: torch.Tensor, output: dict, weight: float = 1.0) -> Prediction:
    return Prediction(
        target,
        output["pred_masks"],
        output["ious"][:, 0],
        output["score"][:, 0],
        weight,
        output.get("boundary"),
    )
