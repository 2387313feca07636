"""Phantoms as a test set: what can be evaluated anywhere, and shown to anybody.

They are computed by ``phantom/``, which shares no code with the training's generator.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..datasets import LoadedCase
from ..geometry import Grid
from ..phantom import abdomen_phantom
from ..phantom.scene import NAMES
from ..volume import Volume
from .tasks import CaseTask

PHANTOM = "phantom"
_FIRST_SEED = 20  # the demo's


@dataclass(frozen=True)
class PhantomCase:
    """A computed abdomen.

    Every seed has another texture and noise and organs that are bent a little differently. From
    the second one on, slices are left out, so that the set has slices of 3, 6, 3, 6 ... mm.

    Attributes:
        seed: of the phantom.
        step: every how many slices one is kept.
    """

    seed: int
    step: int = 1

    @property
    def name(self) -> str:
        """As shown in reports."""
        return f"phantom {self.seed}"

    @property
    def patient(self) -> str:
        """Every phantom is one."""
        return self.name

    def load(self, channel: int = 0) -> LoadedCase:
        """Compute it."""
        image, labels, spacing, _ = abdomen_phantom(self.seed)
        image, labels = image[:: self.step], labels[:: self.step]
        matrix = np.diag([-spacing[0], -spacing[1], spacing[2] * self.step, 1.0])
        volume = Volume(image, Grid(image.shape[::-1], matrix), self.name)
        return LoadedCase(self.name, self.patient, volume, labels)


def phantom_cases(count: int) -> list[CaseTask]:
    """``count`` phantoms with ten structures each; the first is the demo's."""
    objects = tuple((name, (value,)) for value, name in NAMES.items())
    return [
        CaseTask(PHANTOM, PhantomCase(_FIRST_SEED + n, 1 + n % 2), objects, shareable=True)
        for n in range(count)
    ]
