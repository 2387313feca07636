"""Clicks and boxes as people give them, drawn at random from masks in a batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ..models.dense_prompts import BOX_END, BOX_START, NEGATIVE, PADDING, POSITIVE

PointInputs = dict[str, torch.Tensor]


def no_points(batch: int, device: torch.device, count: int = 1) -> PointInputs:
    """``count`` padding points per sample: sam2 wants points beside a mask prompt."""
    return {
        "point_coords": torch.zeros(batch, count, 2, device=device),
        "point_labels": torch.full((batch, count), PADDING, dtype=torch.int32, device=device),
    }


def sample_clicks(region: torch.Tensor, generator: torch.Generator) -> PointInputs:
    """A positive click in each (B, 1, S, S) bool region, preferring its inside."""
    weight = region.float()
    # The share of the region around each pixel: clicks near the middle are what people make.
    weight = weight * (F.avg_pool2d(weight, 9, 1, 4) ** 2 + 1e-3)
    label = torch.full((len(region),), POSITIVE, dtype=torch.int32, device=region.device)
    return _pick(weight.flatten(1), region.shape[-1], label, generator)


def sample_box(region: torch.Tensor, generator: torch.Generator) -> PointInputs:
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
) -> PointInputs:
    """A click in the larger of each sample's false-negative and false-positive regions.

    Where there is no error there is no click (padding).

    Args:
        logits: (B, 1, h, w) of the prediction.
        target: (B, 1, S, S) float 0 or 1.
        size: S.
    """
    predicted = F.interpolate(logits, (size, size), mode="bilinear", align_corners=False) > 0
    truth = target > 0.5
    missed, spurious = (truth & ~predicted).float(), (predicted & ~truth).float()
    positive = missed.flatten(1).sum(1) >= spurious.flatten(1).sum(1)
    error = torch.where(positive[:, None, None, None], missed, spurious)
    inside = F.avg_pool2d(error, 5, 1, 2) ** 2
    label = torch.where(positive, POSITIVE, NEGATIVE)
    label = torch.where(error.flatten(1).any(1), label, PADDING).to(torch.int32)
    return _pick((error * (inside + 1e-3)).flatten(1), size, label, generator)


def _pick(
    weight: torch.Tensor, size: int, labels: torch.Tensor, generator: torch.Generator
) -> PointInputs:
    """A pixel of each sample with a probability of its weight (B, S*S), and its label (B,)."""
    weight = weight + (weight.sum(1, keepdim=True) <= 0) * 1.0
    index = torch.multinomial(weight.cpu(), 1, generator=generator).to(weight.device)
    coords = torch.stack([index % size, index // size], dim=-1).float()
    return {"point_coords": coords, "point_labels": labels[:, None].clone()}
