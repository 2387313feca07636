"""The names under which Slicer knows the phantom, and the volume that it becomes."""

from __future__ import annotations

import numpy as np

from ..geometry import Grid
from ..phantom import Phantom
from ..volume import Volume

# Of the samples, and of their thumbnails.
NAME = "SAM2Medical3DPhantomCT"
SEGMENTED_NAME = "SAM2Medical3DPhantomCTSegmented"
NODE_NAME = "PhantomCT"
WINDOW = (-160.0, 240.0)  # abdomen, in Hounsfield units


def phantom_ct(phantom: Phantom) -> Volume:
    """The phantom where ``make demo`` has it too: I to the left, J to the back, K to the head."""
    x, y, z = phantom.spacing
    grid = Grid(phantom.image.shape[::-1], np.diag([-x, -y, z, 1.0]))
    return Volume(phantom.image, grid, NODE_NAME, WINDOW)
