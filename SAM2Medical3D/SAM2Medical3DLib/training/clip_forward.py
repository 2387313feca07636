"""One differentiable pass of a SAM 2.1 network over clips of consecutive slices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F

from ..models.dense_prompts import (
    BOX_END,
    BOX_START,
    LIMIT,
    NEGATIVE,
    PADDING,
    POSITIVE,
    render_prompts,
)
from ..models.normalisation import normalise

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base

    from ..models.architecture import Architecture

FirstPrompt = Literal["mask", "noisy-mask", "box", "click"]


@dataclass
class Prediction:
    """A supervised output: slice ``t``, (B,1,S/4,S/4) logits, (B,) predicted IoU, (B,) score logit.

    ``weight`` scales its loss.
    """

    t: int
    logits: torch.Tensor
    iou: torch.Tensor
    score: torch.Tensor
    weight: float = 1.0


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
        first: FirstPrompt,
        corrections: int,
        generator: torch.Generator,
    ) -> list[Prediction]:
        """Predictions for every slice that the decoder ran on.

        Args:
            frames: (B, T, S, S) in 0..1.
            masks: (B, T, S, S) float 0 or 1; the object is on slice 0.
            first: prompt of slice 0. ``mask`` is the object's own mask and is not predicted.
            corrections: rounds of one corrective click on slice 0 (not for ``mask``).
            generator: source of the random prompts.
        """
        batch, length = frames.shape[:2]
        features = self._encode(frames)
        outputs: dict[str, dict[int, dict]] = {
            "cond_frame_outputs": {},
            "non_cond_frame_outputs": {},
        }
        predictions: list[Prediction] = []
        if first == "mask":
            previous = self._step(features, 0, outputs, length, mask=masks[:, :1])
        else:
            previous, made = self._prompted(features, masks, first, corrections, length, generator)
            predictions += made
        outputs["cond_frame_outputs"][0] = previous
        for t in range(1, length):
            points = prior = None
            if self.architecture.carry_mask:
                points = _no_points(batch, frames.device)
                prior = previous["pred_masks"].detach().clamp(-LIMIT, LIMIT)
            previous = self._step(features, t, outputs, length, points=points, prior=prior)
            outputs["non_cond_frame_outputs"][t] = previous
            predictions.append(_prediction(t, previous))
        return predictions

    def _prompted(
        self,
        features: list[torch.Tensor],
        masks: torch.Tensor,
        first: FirstPrompt,
        corrections: int,
        length: int,
        generator: torch.Generator,
    ) -> tuple[dict, list[Prediction]]:
        """Slice 0 from a click, a box or a noisy mask, with corrective clicks."""
        size = self.architecture.image_size
        target = masks[:, :1]
        prior = None
        if first == "click":
            points = sample_clicks(target > 0.5, generator)
        elif first == "box":
            points = sample_box(target[:, 0] > 0.5, generator)
        else:
            points = _no_points(len(masks), masks.device)
            prior = noisy_mask_logits(target, generator)
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
            predictions.append(_prediction(0, output, 1 / (corrections + 1)))
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


def _prediction(t: int, output: dict, weight: float = 1.0) -> Prediction:
    return Prediction(t, output["pred_masks"], output["ious"][:, 0], output["score"][:, 0], weight)


def _no_points(batch: int, device: torch.device) -> dict[str, torch.Tensor]:
    return {
        "point_coords": torch.zeros(batch, 1, 2, device=device),
        "point_labels": torch.full((batch, 1), PADDING, dtype=torch.int32, device=device),
    }


def sample_clicks(region: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """A positive click in each (B, 1, S, S) bool region, preferring its inside."""
    weight = region.float()
    # The share of the region around each pixel: clicks near the middle are what people make.
    weight = weight * (F.avg_pool2d(weight, 9, 1, 4) ** 2 + 1e-3)
    return _pick(weight.flatten(1), region.shape[-1], POSITIVE, generator)


def _pick(
    weight: torch.Tensor, size: int, label: int | torch.Tensor, generator: torch.Generator
) -> dict[str, torch.Tensor]:
    weight = weight + (weight.sum(1, keepdim=True) <= 0) * 1.0
    index = torch.multinomial(weight, 1, generator=generator)
    x, y = index % size, index // size
    coords = torch.stack([x, y], dim=-1).float()
    labels = torch.as_tensor(label, dtype=torch.int32, device=weight.device)
    return {"point_coords": coords, "point_labels": labels.expand(len(weight)).view(-1, 1).clone()}


def sample_box(region: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """The tight box of each (B, S, S) bool region, each side moved by up to a tenth of it."""
    size = region.shape[-1]
    edges = []
    for axis in (1, 2):
        hit = region.any(axis)  # axis 1 leaves columns (x), axis 2 leaves rows (y)
        first = hit.float().argmax(1).float()
        last = size - hit.flip(1).float().argmax(1).float()
        noise = torch.rand(2, len(region), generator=generator).to(first) * 0.2 - 0.1
        side = last - first
        edges.append((first + noise[0] * side, last + noise[1] * side))
    (x0, x1), (y0, y1) = edges
    coords = torch.stack([torch.stack([x0, y0], -1), torch.stack([x1, y1], -1)], 1)
    labels = torch.tensor([BOX_START, BOX_END], dtype=torch.int32, device=region.device)
    return {
        "point_coords": coords.clamp(0, size),
        "point_labels": labels.expand(len(region), 2).clone(),
    }


def sample_correction(
    logits: torch.Tensor, target: torch.Tensor, size: int, generator: torch.Generator
) -> dict[str, torch.Tensor]:
    """A click in the larger of each sample's false-negative and false-positive regions."""
    predicted = F.interpolate(logits, (size, size), mode="bilinear", align_corners=False) > 0
    truth = target > 0.5
    missed, spurious = (truth & ~predicted).float(), (predicted & ~truth).float()
    positive = missed.flatten(1).sum(1) >= spurious.flatten(1).sum(1)
    error = torch.where(positive[:, None, None, None], missed, spurious)
    inside = F.avg_pool2d(error, 5, 1, 2) ** 2
    label = torch.where(positive, POSITIVE, NEGATIVE).to(torch.int32)
    return _pick((error * (inside + 1e-3)).flatten(1), size, label, generator)


def noisy_mask_logits(target: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """(B, 1, S, S) masks as the (B, 1, S/4, S/4) prompt a neighbouring slice would have left.

    Translated, scaled, grown or shrunk unevenly by a smooth random field, blurred to logits.
    """
    batch, _, size, _ = target.shape
    rand = lambda *shape: torch.rand(*shape, generator=generator).to(target)  # noqa: E731
    theta = torch.zeros(batch, 2, 3).to(target)
    scale = 1 + (rand(batch) - 0.5) * 0.3
    theta[:, 0, 0] = theta[:, 1, 1] = scale
    theta[:, :, 2] = (rand(batch, 2) - 0.5) * 0.16
    grid = F.affine_grid(theta, list(target.shape), align_corners=False)
    field = F.interpolate((rand(batch, 2, 5, 5) - 0.5) * 0.2, (size, size), mode="bicubic")
    moved = F.grid_sample(target, grid + field.permute(0, 2, 3, 1), align_corners=False)
    small = F.interpolate(moved, (size // 4, size // 4), mode="area")
    shift = F.interpolate((rand(batch, 1, 4, 4) - 0.5) * 0.6, small.shape[-2:], mode="bicubic")
    soft = F.avg_pool2d(small, 3, 1, 1) - 0.5 + shift * (small > 0)
    return (soft * (4 + 36 * rand(batch, 1, 1, 1))).clamp(-LIMIT, LIMIT)
