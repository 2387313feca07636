"""Random anatomy-like volumes with their labels: endless training data that is nobody's.

A volume is painted as a map of tissues (a trunk, a head or packed soft tissue), then given CT-like
or MR-like intensities. Everything follows from the seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .abdomen import abdomen
from .appearance import render
from .atlas import Atlas
from .canvas import Canvas
from .head import head
from .limb import limb
from .shapes import Shape
from .trunk import trunk

SHAPE: Shape = (96, 192, 192)
SMALLEST = 60
LEAST_VISIBLE = 0.55


@dataclass(frozen=True)
class SyntheticVolume:
    """A synthetic scan.

    `image` float16 (Z, Y, X) in [0, 1]; `labels` uint8 (Z, Y, X), 0 background and 1..N targets;
    `parents` of length N + 1: the label that a label is nested in, 0 for none.
    """

    image: np.ndarray
    labels: np.ndarray
    parents: tuple[int, ...]


def synthesise_volume(
    seed: int, shape: Shape = SHAPE, atlas: Atlas | None = None, share: float = 0.0
) -> SyntheticVolume:
    """The volume of a seed: `shape` voxels (Z, Y, X), about 10 to 80 targets.

    `share` is the probability that it is an abdomen painted from `atlas`.
    """
    rng = np.random.default_rng(seed)
    canvas = Canvas(shape)
    if atlas is not None and rng.random() < share:
        abdomen(canvas, rng, atlas)
    else:
        scene = rng.choice(3, p=[0.62, 0.16, 0.22])
        (trunk, head, limb)[scene](canvas, rng)
    image = render(rng, canvas.tissues, canvas.table)
    labels, parents = _compact(canvas)
    return SyntheticVolume(image.astype(np.float16), labels, parents)


def _compact(canvas: Canvas) -> tuple[np.ndarray, tuple[int, ...]]:
    """Renumbers the labels that are still whole enough to 1..N; the others become background.

    What is nested in a label counts as part of it. Leftovers of an overpainted organ are no target.
    """
    counts = np.bincount(canvas.labels.ravel(), minlength=len(canvas.parents))
    whole = counts.copy()
    for label in range(len(whole) - 1, 0, -1):
        whole[canvas.parents[label]] += whole[label]
    kept = [
        label
        for label in range(1, len(counts))
        if counts[label] >= SMALLEST and whole[label] >= LEAST_VISIBLE * canvas.painted[label]
    ]
    table = np.zeros(256, np.uint8)
    table[kept] = np.arange(1, len(kept) + 1)
    return table[canvas.labels], (0, *(int(table[canvas.parents[label]]) for label in kept))
