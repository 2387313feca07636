"""A computed abdomen, CT-like, with known labels: the demo volume that needs no download.

It resembles nobody, follows from nothing but these files, and is never trained on.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .frame import skeleton, trunk
from .gut import gut
from .organs import organs
from .scene import NAMES, Scene
from .shapes import Space
from .vessels import vessels

SIZE = (240, 192, 80)
SPACING = (1.5, 1.5, 3.0)


class Phantom(NamedTuple):
    """The phantom: `image` int16 (K, J, I) in Hounsfield units, `labels` uint8 (K, J, I).

    `spacing` (x, y, z) in mm, `names` of the labels; 0 is background. I runs to the patient's left,
    J to the back and K to the head, which is LPS.
    """

    image: np.ndarray
    labels: np.ndarray
    spacing: tuple[float, float, float]
    names: dict[int, str]


def abdomen_phantom(seed: int = 20) -> Phantom:
    """Computes the phantom, in a few seconds; always the same for a seed."""
    rng = np.random.default_rng(seed)
    scene = Scene(Space(SIZE, SPACING, 3.0, rng), rng)
    cavity = trunk(scene)
    gut(scene)
    organs(scene, cavity)
    vessels(scene)
    skeleton(scene)
    return Phantom(scene.scan(), scene.labels, SPACING, dict(NAMES))
