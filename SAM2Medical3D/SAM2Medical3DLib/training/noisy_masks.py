"""Noisy masks: what a neighbouring slice's prediction looks like as a prompt (RadSAM, section 3).

RadSAM trains with a noisy mask as a first-class prompt beside points and boxes. The paper gives
the idea; the family is ours, and imitates what iterative inference feeds the model: the mask of a
neighbour (chosen by the caller), moved and scaled, grown or shrunk, with an elastic boundary, parts
lost and parts that do not belong. The model's own prediction, the last member of the family, is
made by :class:`~.slice_forward.SliceForward`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ..models.dense_prompts import LIMIT


@dataclass(frozen=True)
class Noise:
    """How strong the noise is, relative to the object's size unless said otherwise.

    Attributes:
        shift: largest translation.
        scale: largest relative change of size.
        morphology: largest erosion or dilation.
        elastic: largest displacement of the boundary by a smooth random field.
        lost, spurious: probability that a disc is cut out, or added beside the boundary.
        disc: largest radius of such a disc.
        exact: probability that a mask is left as it is.
        least_dice: no noisy mask has a lower Dice with the mask that it was made from.
    """

    shift: float = 0.15
    scale: float = 0.35
    morphology: float = 0.12
    elastic: float = 0.15
    lost: float = 0.3
    spurious: float = 0.3
    disc: float = 0.25
    exact: float = 0.1
    least_dice: float = 0.5


NOISE = Noise()
_SOFTER = 4  # tries at half the strength before the mask is left as it is


def noisy_masks(
    masks: torch.Tensor, generator: torch.Generator, noise: Noise = NOISE
) -> torch.Tensor:
    """Binary masks changed at random.

    Args:
        masks: (B, 1, S, S) float 0 or 1. Empty ones stay empty.
        generator: on the CPU; decides everything.

    Returns:
        the same shape and type; the Dice with ``masks`` is ``noise.least_dice`` to 1.
    """
    strength = torch.rand(len(masks), generator=generator).to(masks)
    strength[torch.rand(len(masks), generator=generator).to(masks.device) < noise.exact] = 0
    made = _changed(masks, strength, generator, noise)
    for _ in range(_SOFTER):
        bad = dice(made, masks) < noise.least_dice
        if not bad.any():
            return made
        strength = strength / 2
        again = _changed(masks, strength, generator, noise)
        made = torch.where(bad[:, None, None, None], again, made)
    bad = dice(made, masks) < noise.least_dice
    return torch.where(bad[:, None, None, None], masks, made)


def as_prompt(masks: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
    """(B, 1, S, S) masks as the (B, 1, S/4, S/4) logits of a mask prompt, within -10..10.

    With a generator the certainty is drawn at random, as that of predictions varies; without one it
    is full, as for a mask that a user drew.
    """
    soft = F.avg_pool2d(masks, 4) - 0.5
    if generator is None:
        return 2 * LIMIT * soft
    gain = 4 + 36 * torch.rand(len(masks), 1, 1, 1, generator=generator).to(masks)
    blurred = F.avg_pool2d(soft, 3, 1, 1, count_include_pad=False)
    mix = torch.rand(len(masks), 1, 1, 1, generator=generator).to(masks)
    return (gain * (mix * blurred + (1 - mix) * soft)).clamp(-LIMIT, LIMIT)


def dice(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """(B,) Dice of (B, 1, S, S) binary masks; 1 where both are empty."""
    shared = (a * b).flatten(1).sum(1)
    both = a.flatten(1).sum(1) + b.flatten(1).sum(1)
    return torch.where(both > 0, 2 * shared / both.clamp(min=1), torch.ones_like(both))


def _changed(
    masks: torch.Tensor, strength: torch.Tensor, generator: torch.Generator, noise: Noise
) -> torch.Tensor:
    size = masks.shape[-1]
    # The side of a square of the object's area, as a share of the image's side.
    extent = masks.flatten(1).mean(1).sqrt()
    amount = strength * extent
    moved = _warped(masks, strength, amount, generator, noise)
    moved = _grown(moved, amount * size * noise.morphology, generator)
    for odds, value in ((noise.lost, 0.0), (noise.spurious, 1.0)):
        chosen = torch.rand(len(masks), generator=generator).to(masks) < odds
        radius = torch.rand(len(masks), generator=generator).to(masks) * amount * noise.disc * size
        disc = _disc_at_boundary(moved, radius, generator) & chosen[:, None, None, None]
        moved = torch.where(disc, value, moved)
    kept = (strength > 0) & (masks.flatten(1).sum(1) > 0)
    return torch.where(kept[:, None, None, None], moved, masks)


def _warped(
    masks: torch.Tensor,
    strength: torch.Tensor,
    amount: torch.Tensor,
    generator: torch.Generator,
    noise: Noise,
) -> torch.Tensor:
    """Translated, scaled about the object's centre, and bent by a smooth field."""
    batch, _, size, _ = masks.shape

    def signed(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator).to(masks) * 2 - 1

    factor = 1 + noise.scale * strength * signed(batch)
    shift = 2 * noise.shift * amount[:, None] * signed(batch, 2)  # the grid runs from -1 to 1
    axis = torch.linspace(-1 + 1 / size, 1 - 1 / size, size, device=masks.device)
    area = masks.flatten(1).sum(1).clamp(min=1)
    centre = torch.stack(
        [(masks.sum((1, 2)) * axis).sum(1) / area, (masks.sum((1, 3)) * axis).sum(1) / area], 1
    )
    theta = torch.zeros(batch, 2, 3).to(masks)
    theta[:, 0, 0] = theta[:, 1, 1] = factor
    theta[:, :, 2] = centre * (1 - factor[:, None]) + shift
    grid = F.affine_grid(theta, list(masks.shape), align_corners=False)
    bend = F.interpolate(signed(batch, 2, 7, 7), (size, size), mode="bicubic")
    bend = 2 * noise.elastic * amount[:, None, None, None] * bend
    moved = F.grid_sample(masks, grid + bend.permute(0, 2, 3, 1), align_corners=False)
    return (moved >= 0.5).to(masks)


def _grown(masks: torch.Tensor, limit: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Dilated or eroded by up to ``limit`` pixels, one pixel at a time."""
    steps = (torch.rand(len(masks), generator=generator).to(masks) * 2 - 1) * limit
    steps = steps.round().int()
    grown = masks
    for n in range(int(steps.abs().max()) if len(steps) else 0):
        larger = F.max_pool2d(grown, 3, 1, 1)
        smaller = -F.max_pool2d(-grown, 3, 1, 1)
        more, less = (steps > n)[:, None, None, None], (steps < -n)[:, None, None, None]
        grown = torch.where(more, larger, torch.where(less, smaller, grown))
    return grown


def _disc_at_boundary(
    masks: torch.Tensor, radius: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """(B, 1, S, S) bool discs around a random boundary pixel of each mask."""
    size = masks.shape[-1]
    edge = (F.max_pool2d(masks, 3, 1, 1) - masks).flatten(1)
    edge = edge + (edge.sum(1, keepdim=True) <= 0) * 1.0
    where = torch.multinomial(edge.cpu(), 1, generator=generator)[:, 0].to(masks.device)
    y, x = (where // size)[:, None, None], (where % size)[:, None, None]
    axis = torch.arange(size, device=masks.device)
    squared = (axis[None, :, None] - y) ** 2 + (axis[None, None, :] - x) ** 2
    return (squared < radius[:, None, None] ** 2)[:, None]
