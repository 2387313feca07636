"""A volume as the frames a model sees."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..errors import UserError
from ..geometry import Plane, StackGeometry
from .intensity import IntensityMapping
from .volume import Volume


@dataclass(frozen=True, eq=False)
class SliceStack:
    """Slices of a volume along one plane, prepared one at a time when asked for.

    Args:
        volume: the volume.
        plane: slicing plane; None takes the plane of the thickest slices, axial if none.
        mapping: intensities to 8 bit; None chooses by ``IntensityMapping.automatic``.
    """

    volume: Volume
    plane: Plane | None = None
    mapping: IntensityMapping | None = None
    geometry: StackGeometry = field(init=False)

    def __post_init__(self) -> None:
        plane = self.volume.grid.thickest_plane() if self.plane is None else Plane(self.plane)
        object.__setattr__(self, "plane", plane)
        object.__setattr__(self, "geometry", StackGeometry(self.volume.grid, plane))
        if self.mapping is None:
            object.__setattr__(self, "mapping", IntensityMapping.automatic(self.volume))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of slices, rows and columns."""
        return self.geometry.shape

    def __len__(self) -> int:
        return self.shape[0]

    def frame(self, index: int) -> np.ndarray:
        """Slice ``index`` as (H, W) uint8.

        Raises:
            UserError: if there is no such slice.
        """
        if not 0 <= index < len(self):
            raise UserError(f"Slice {index} does not exist: the stack has 0 to {len(self) - 1}.")
        return self.mapping(self.geometry.to_stack(self.volume.array)[index])
