"""Density and labels of the phantom while it is built, and the scan that is made of it."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from .shapes import Body, Space

NOISE = 12.0
NAMES = {
    1: "liver",
    2: "spleen",
    3: "right kidney",
    4: "left kidney",
    5: "aorta",
    6: "stomach",
    7: "lesion",
    8: "vertebrae",
    9: "inferior vena cava",
    10: "gallbladder",
}
LABEL = {name: label for label, name in NAMES.items()}


class Scene:
    """Density (HU, float32) and labels under construction; later bodies cover earlier ones."""

    def __init__(self, space: Space, rng: np.random.Generator) -> None:
        self.space = space
        self.rng = rng
        self.density = np.full(space.shape, -1000, np.float32)
        self.labels = np.zeros(space.shape, np.uint8)
        self.grain = space.ripple(rng, 7)
        self.mottle = gaussian_filter(rng.standard_normal(space.shape, dtype=np.float32), 1.0)
        self.mottle /= self.mottle.std()

    def add(
        self,
        body: Body | None,
        density: float,
        name: str | None = None,
        *,
        shrink: float = 0.0,
        grain: float = 4.0,
        mottle: float = 0.0,
        soft: float = 2.0,
        within: np.ndarray | None = None,
        keep: bool = False,
    ) -> None:
        """Fills `body`, made smaller by `shrink` mm, with HU `density` and its texture.

        The edge is `soft` mm wide. `within` bool (K, J, I) confines it; `keep` leaves the labels.
        """
        if body is None:
            return
        field = body.field - shrink
        share = np.clip(field / soft + 0.5, 0, 1)
        if within is not None:
            share = share * within[body.box]
        value = density + grain * self.grain[body.box] + mottle * self.mottle[body.box]
        view = self.density[body.box]
        view += share * (value - view)
        if not keep:
            self.labels[body.box][share >= 0.5] = LABEL[name] if name else 0

    def scan(self) -> np.ndarray:
        """The image of a scanner: finite slice thickness, detector blur and noise, int16."""
        image = gaussian_filter1d(self.density, 0.45, axis=0)
        image = gaussian_filter(image, (0, 0.5, 0.5))
        noise = self.rng.standard_normal(image.shape, dtype=np.float32)
        noise = gaussian_filter(noise, (0.2, 0.55, 0.55))
        image += NOISE / noise.std() * noise
        return np.clip(np.round(image), -1024, 3071).astype(np.int16)
