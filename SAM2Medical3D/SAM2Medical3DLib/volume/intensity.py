"""Intensities to the 8-bit greys that SAM 2 was made for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import UserError
from .volume import Volume

# Level and width in Hounsfield units, as radiology textbooks and viewers preset them.
CT_WINDOWS: dict[str, tuple[float, float]] = {
    "abdomen": (40, 400),
    "lung": (-600, 1500),
    "bone": (400, 1800),
    "brain": (40, 80),
    "mediastinum": (50, 350),
    "liver": (60, 160),
}


@dataclass(frozen=True)
class IntensityMapping:
    """Linear map from an intensity window to 0..255, the same for every slice of a volume.

    Args:
        low, high: intensities that become 0 and 255; values outside are clipped, NaN becomes 0.
        per_slice: ignore ``low`` and ``high`` and stretch each slice's own minimum and maximum, as
            Shen et al. 2024 do in their published evaluation code.
    """

    low: float
    high: float
    per_slice: bool = False

    def __post_init__(self) -> None:
        if not self.per_slice and not (
            np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high
        ):
            raise UserError(
                f"The intensity window {self.low:g} to {self.high:g} is empty; "
                "its lower end must be below its upper end."
            )

    def __call__(self, slice_: np.ndarray) -> np.ndarray:
        """(H, W) intensities to (H, W) uint8."""
        values = slice_.astype(np.float32)
        low, high = np.float32(self.low), np.float32(self.high)
        if self.per_slice:
            finite = values[np.isfinite(values)]
            low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
            if low == high:
                return np.zeros(values.shape, np.uint8)
        values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
        scaled = (np.clip(values, low, high) - low) * (np.float32(255) / np.float32(high - low))
        return np.rint(scaled).astype(np.uint8)

    @classmethod
    def from_window(cls, level: float, width: float) -> IntensityMapping:
        """From a display level and width, in the volume's own units."""
        return cls(level - width / 2, level + width / 2)

    @classmethod
    def from_percentiles(
        cls, volume: Volume, lower: float = 0.5, upper: float = 99.5
    ) -> IntensityMapping:
        """From percentiles of the finite voxels that are not background, as usual for MR.

        At most about a million voxels are looked at. Voxels equal to the minimum are left out, so
        that zero padding around the head does not decide the window.
        """
        step = max(1, round((volume.array.size / 1e6) ** (1 / 3)))
        sample = volume.array[::step, ::step, ::step].astype(np.float32).ravel()
        sample = sample[np.isfinite(sample)]
        inside = sample[sample > volume.finite_range[0]]
        if inside.size >= 16:
            low, high = np.percentile(inside, [lower, upper])
            if low < high:
                return cls(float(low), float(high))
        return cls(*volume.finite_range)

    @classmethod
    def named(cls, name: str, volume: Volume) -> IntensityMapping:
        """A mapping by name.

        Args:
            name: ``auto``, ``display`` (the image's own window), ``percentiles``, ``range`` (full
                range), ``per-slice``, a CT preset (see ``CT_WINDOWS``), or ``LEVEL/WIDTH``.
            volume: the volume to map.

        Raises:
            UserError: for an unknown name, or ``display`` when the volume has no window.
        """
        if name == "auto":
            return cls.automatic(volume)
        if name == "display":
            if volume.window is None:
                raise UserError(f"{volume.name} carries no display window; choose a preset.")
            return cls(*volume.window)
        if name == "percentiles":
            return cls.from_percentiles(volume)
        if name == "range":
            return cls(*volume.finite_range)
        if name == "per-slice":
            return cls(*volume.finite_range, per_slice=True)
        if name in CT_WINDOWS:
            return cls.from_window(*CT_WINDOWS[name])
        level, slash, width = name.partition("/")
        try:
            if slash:
                return cls.from_window(float(level), float(width))
        except UserError:
            raise
        except ValueError:
            pass
        choices = ", ".join(["auto", "display", "percentiles", "range", "per-slice", *CT_WINDOWS])
        raise UserError(f"Unknown window '{name}'; use LEVEL/WIDTH or one of {choices}.")

    @classmethod
    def automatic(cls, volume: Volume) -> IntensityMapping:
        """The soft-tissue CT window if the voxels look like Hounsfield units, else percentiles.

        Hounsfield units are recognised by air: a minimum at or below -900 and a range over 1000.
        An 8-bit image is taken as already windowed and used as it is.
        """
        low, high = volume.finite_range
        if low <= -900 and high - low > 1000:
            return cls.from_window(*CT_WINDOWS["abdomen"])
        if volume.array.dtype == np.uint8:
            return cls(0, 255)
        return cls.from_percentiles(volume)
