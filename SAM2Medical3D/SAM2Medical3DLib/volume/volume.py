"""A checked scalar volume: voxels and where they are."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..errors import UserError
from ..geometry import Grid


@dataclass(frozen=True, eq=False)
class Volume:
    """A 3D scalar image.

    Args:
        array: (K, J, I) integers or floats. Not copied; never written to.
        grid: its voxel grid.
        name: shown in messages.
        window: (lowest, highest) intensity of the display window that came with the image, or None.

    Raises:
        UserError: for colour or 4D images, fewer than two voxels along an axis, complex or other
            non-numeric types, no finite voxel, or one constant intensity.
    """

    array: np.ndarray
    grid: Grid
    name: str = "volume"
    window: tuple[float, float] | None = None
    finite_range: tuple[float, float] = field(init=False)

    def __post_init__(self) -> None:
        array = self.array
        if array.ndim != 3:
            raise UserError(
                f"{self.name} has {array.ndim} dimensions; a single-channel 3D volume is needed: "
                "extract one time point or one colour channel first."
            )
        if array.shape[::-1] != self.grid.size:
            raise UserError(f"{self.name}: {array.shape[::-1]} voxels do not fit {self.grid.size}.")
        if array.dtype.kind not in "iufb":
            raise UserError(f"{self.name} holds {array.dtype} voxels; real numbers are needed.")
        if min(array.shape) < 2:
            raise UserError(
                f"{self.name} is a single slice ({'x'.join(map(str, self.grid.size))} voxels); "
                "load the whole series as one 3D volume."
            )
        object.__setattr__(self, "finite_range", self._finite_range())

    def _finite_range(self) -> tuple[float, float]:
        array = self.array
        low, high = float(array.min()), float(array.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            # Slice by slice: a boolean copy of the whole volume would double its memory.
            parts = [part[np.isfinite(part)] for part in array]
            parts = [part for part in parts if part.size]
            if not parts:
                raise UserError(f"{self.name} has no finite voxel (all NaN or infinite).")
            low = float(min(part.min() for part in parts))
            high = float(max(part.max() for part in parts))
        if low == high:
            raise UserError(f"{self.name} is constant ({low:g} everywhere): nothing to segment.")
        return low, high
