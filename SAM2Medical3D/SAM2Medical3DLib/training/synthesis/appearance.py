"""Intensities for a map of tissues: CT-like or MR-like contrast, texture, noise, artefacts."""

from __future__ import annotations

import numpy as np
import torch
import torchio as tio
from scipy.ndimage import gaussian_filter

from .canvas import AIR, Tissue
from .shapes import nodes, smooth_noise, upsample

# Hounsfield units: (lowest, highest) of the mean.
CT_RANGES: dict[str, tuple[float, float]] = {
    "air": (-1000, -1000),
    "gas": (-980, -800),
    "lung": (-880, -700),
    "fat": (-120, -75),
    "skin": (-20, 50),
    "muscle": (35, 75),
    "organ": (35, 110),
    "bright": (110, 230),
    "wall": (40, 100),
    "fluid": (-5, 30),
    "content": (-40, 90),
    "stool": (-150, 20),
    "vessel": (35, 280),
    "disc": (50, 100),
    "spongy": (110, 280),
    "cortical": (380, 1100),
    "canal": (15, 45),
    "white": (24, 32),
    "grey": (33, 45),
    "lesion": (0, 110),
    "necrosis": (5, 35),
}

# Relative MR signal; the sequence decides whether fluid, fat and vessels are dark or bright.
MR_RANGES: dict[str, tuple[float, float]] = {
    "air": (0.0, 0.02),
    "gas": (0.0, 0.04),
    "lung": (0.02, 0.12),
    "skin": (0.3, 0.6),
    "muscle": (0.12, 0.42),
    "organ": (0.2, 0.65),
    "bright": (0.3, 0.9),
    "wall": (0.2, 0.6),
    "content": (0.1, 0.7),
    "stool": (0.1, 0.6),
    "disc": (0.1, 0.6),
    "cortical": (0.0, 0.1),
    "spongy": (0.2, 0.6),
    "canal": (0.1, 0.8),
    "white": (0.35, 0.65),
    "grey": (0.25, 0.7),
    "lesion": (0.15, 0.85),
}

# Standard deviation of the texture, as a fraction of the window: (lowest, highest).
TEXTURE: dict[str, tuple[float, float]] = {
    "air": (0.0, 0.004),
    "gas": (0.0, 0.01),
    "fluid": (0.0, 0.01),
    "fat": (0.008, 0.04),
    "muscle": (0.01, 0.045),
    "content": (0.02, 0.12),
    "stool": (0.1, 0.3),
    "spongy": (0.03, 0.12),
    "cortical": (0.02, 0.1),
    "lung": (0.02, 0.06),
    "lesion": (0.01, 0.06),
    "necrosis": (0.01, 0.05),
}
DEFAULT_TEXTURE = (0.006, 0.035)
# A target differs from what it touches by at least this much of the window.
LEAST_CONTRAST = (0.05, 0.1)


def render(rng: np.random.Generator, tissues: np.ndarray, table: list[Tissue]) -> np.ndarray:
    """An image for a tissue map.

    `tissues` uint8 (Z, Y, X) indexes `table`. Returns float32 (Z, Y, X) in [0, 1].
    """
    ct = bool(rng.random() < 0.55)
    means, detail = _ct_means(rng, table) if ct else (_mr_means(rng, table), 1.0)
    _separate(rng, means, table)
    image = means[tissues]
    for amount, pattern in _textures(rng, table, tissues.shape):
        image += detail * amount[tissues] * pattern
    sharp = rng.uniform(0.35, 0.75) if rng.random() < 0.75 else rng.uniform(0.75, 1.2)
    image = gaussian_filter(image, sharp, truncate=2.5)
    if not ct:
        image *= _bias(rng, image.shape, rng.uniform(0.03, 0.25))
    image = _artefacts(rng, image, ct)
    image = _noise(rng, image, ct, detail)
    if rng.random() < 0.06:
        image = 1 - image
    return np.clip(image, 0, 1)


def _ct_means(rng: np.random.Generator, table: list[Tissue]) -> tuple[np.ndarray, float]:
    """Means within a random window, and by how much a wide window flattens texture and noise."""
    draw = rng.random()
    if draw < 0.8:
        level, width = rng.uniform(15, 90), rng.uniform(260, 600)
    elif draw < 0.93:
        level, width = rng.uniform(200, 500), rng.uniform(1000, 2000)
    else:
        level, width = rng.uniform(-650, -300), rng.uniform(1000, 1600)
    enhanced = rng.random() < 0.7
    base = rng.uniform(40, 105) if enhanced else rng.uniform(35, 60)
    vessel = rng.uniform(110, 280) if enhanced else rng.uniform(32, 48)
    hounsfield = np.zeros(len(table), np.float32)
    for i, tissue in enumerate(table):
        if tissue.kind == "organ":
            value = base + rng.normal(0, 14)
        elif tissue.kind == "vessel":
            value = vessel + rng.normal(0, 0.15 * vessel)
        elif tissue.kind == "bright" and not enhanced:
            value = base + rng.normal(0, 8)
        elif tissue.kind == "lesion" and tissue.host is not None:
            value = hounsfield[tissue.host] + rng.choice([-1, -1, -1, 1]) * rng.uniform(12, 60)
        else:
            value = rng.uniform(*CT_RANGES[tissue.kind])
        hounsfield[i] = value
    means = np.clip((hounsfield - level) / width + 0.5, 0, 1).astype(np.float32)
    return means, float(min(400 / width, 1.2))


def _mr_means(rng: np.random.Generator, table: list[Tissue]) -> np.ndarray:
    def bright_or_dark(p_bright: float) -> tuple[float, float]:
        return (0.6, 0.98) if rng.random() < p_bright else (0.03, 0.25)

    fluid = bright_or_dark(0.55)
    ranges = MR_RANGES | {
        "fluid": fluid,
        "necrosis": fluid,
        "fat": bright_or_dark(0.65),
        "vessel": bright_or_dark(0.5),
    }
    if rng.random() < 0.15:
        ranges = dict.fromkeys(ranges, (0.0, 1.0))
    shared = {kind: rng.uniform(*span) for kind, span in ranges.items()}
    spread = rng.uniform(0.03, 0.12)
    means = np.zeros(len(table), np.float32)
    for i, tissue in enumerate(table):
        if tissue.kind == "lesion" and tissue.host is not None:
            value = means[tissue.host] + rng.choice([-1, 1]) * rng.uniform(0.08, 0.4)
        else:
            value = (
                shared[tissue.kind] + rng.normal(0, 1 if tissue.kind == "organ" else 0.5) * spread
            )
        means[i] = np.clip(value, 0, 1)
    means[AIR] = rng.uniform(0, 0.02)
    return np.clip(means * rng.uniform(0.75, 1.05), 0, 1)


def _separate(rng: np.random.Generator, means: np.ndarray, table: list[Tissue]) -> None:
    """Moves each target's mean away, in place, from the tissue around it when hardly visible."""
    for i, tissue in enumerate(table):
        gap = means[i] - means[tissue.around]
        if tissue.labelled and i != tissue.around and abs(gap) < LEAST_CONTRAST[0]:
            side = (1.0 if gap > 0 else -1.0) if gap else rng.choice([-1.0, 1.0])
            moved = means[tissue.around] + side * rng.uniform(*LEAST_CONTRAST)
            if not 0 <= moved <= 1:
                moved = means[tissue.around] - side * rng.uniform(*LEAST_CONTRAST)
            means[i] = moved


def _textures(
    rng: np.random.Generator, table: list[Tissue], shape: tuple[int, ...]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs of an amplitude per tissue and a unit-variance pattern of one scale."""
    sizes = np.array([rng.uniform(*TEXTURE.get(t.kind, DEFAULT_TEXTURE)) for t in table])
    shares = rng.dirichlet([0.7] * 4, len(table)) ** 0.5
    amounts = (sizes[:, None] * shares).astype(np.float32)
    patterns = [smooth_noise(rng, shape, 0.7)]
    for stride, sigma in ((2, 0.8), (3, (2.0, 0.6, 0.6)), (4, 2.0)):
        coarse = smooth_noise(rng, [nodes(n, stride) for n in shape], sigma)
        patterns.append(upsample(coarse, stride, shape))
    return list(zip(amounts.T.copy(), patterns, strict=True))


def _bias(rng: np.random.Generator, shape: tuple[int, ...], amount: float) -> np.ndarray:
    coarse = smooth_noise(rng, [nodes(n, 8) for n in shape], rng.uniform(3, 6))
    return np.exp(amount * upsample(coarse, 8, shape))


def _artefacts(rng: np.random.Generator, image: np.ndarray, ct: bool) -> np.ndarray:
    """Scanner artefacts by TorchIO, each with its own probability."""
    transforms: list[tio.Transform] = []
    if not ct and rng.random() < 0.12:
        transforms.append(tio.RandomGhosting(num_ghosts=(3, 7), intensity=(0.1, 0.4)))
    if not ct and rng.random() < 0.06:
        transforms.append(tio.RandomMotion(degrees=2, translation=2, num_transforms=1))
    if rng.random() < 0.1:
        transforms.append(tio.RandomAnisotropy(axes=(0, 1, 2), downsampling=(1.3, 2.2)))
    if not transforms:
        return image
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        tensor = torch.from_numpy(np.ascontiguousarray(image))[None]
        out = tio.Compose(transforms)(tio.ScalarImage(tensor=tensor))
    return out.data[0].numpy().astype(np.float32)


def _noise(rng: np.random.Generator, image: np.ndarray, ct: bool, detail: float) -> np.ndarray:
    """Correlated noise, Gaussian in CT and Rician in MR, scaled by `detail`."""
    sd = detail * float(rng.choice([0.01, 0.02, 0.03, 0.05]) * rng.uniform(0.5, 1.5))
    sigma = rng.uniform(0.4, 0.9) if rng.random() < 0.6 else 0.0
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    if sigma:
        noise = gaussian_filter(noise, (0.3 * sigma, sigma, sigma), truncate=2.5)
        noise /= float(noise[::4].std())
    if ct:
        return image + sd * noise
    second = np.roll(noise, (7, 31, 53), axis=(0, 1, 2))
    return np.sqrt((image + sd * noise) ** 2 + (sd * second) ** 2)
