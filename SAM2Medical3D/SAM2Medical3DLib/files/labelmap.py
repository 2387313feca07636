"""Labelmaps from image files, brought onto a volume's grid without resampling."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import UserError
from ..geometry import Grid
from .images import array_of, grid_of, quiet_itk
from .reading import read_image

# How far a labelmap's voxel centres may lie from the volume's, in voxels: rounding in headers.
_TOLERANCE = 0.05


@dataclass(frozen=True)
class Segment:
    """What a segmentation file says of a label: its name and colour (red, green, blue; 0..1)."""

    name: str
    colour: tuple[float, float, float]


def read_labelmap(path: Path | str, grid: Grid) -> np.ndarray:
    """Read the labels of a file whose voxels coincide with those of a grid.

    Axes may be permuted or flipped and the file may cover a part of the grid or more: the voxels
    are reordered, exactly. Nothing is ever resampled.

    Args:
        path: NIfTI, NRRD (also ``.seg.nrrd`` of one layer), MetaImage...
        grid: the volume's grid.

    Returns:
        (K, J, I) unsigned integers (8, 16 or 32 bit) on ``grid``; 0 is background.

    Raises:
        UserError: no such file, unreadable, not labels, on another grid, or labels outside it.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no labelmap file {path}.")
    image = read_image(path)
    labels = as_labels(array_of(image), path)
    own = grid_of(image)
    if own.matches(grid):
        return labels
    axes, signs, offset = _lattice_step(own, grid, path)
    # (K, J, I) to the grid's axis order and directions.
    labels = labels.transpose([2 - axes[i] for i in (2, 1, 0)])
    labels = labels[tuple(slice(None, None, signs[i]) for i in (2, 1, 0))]
    result = np.zeros(grid.size[::-1], labels.dtype)
    target, source = [], []
    for axis in (2, 1, 0):
        first, length = offset[axis], labels.shape[2 - axis]
        start, stop = max(first, 0), min(first + length, grid.size[axis])
        target.append(slice(start, max(stop, start)))
        source.append(slice(start - first, max(stop, start) - first))
    inside = labels[tuple(source)]
    if np.count_nonzero(inside) != np.count_nonzero(labels):
        raise UserError(f"{path} has labels outside the volume; crop it to the volume first.")
    result[tuple(target)] = inside
    return result


def as_labels(array: np.ndarray, path: Path) -> np.ndarray:
    """Voxels as unsigned integers of the smallest kind that holds them.

    Raises:
        UserError: fractions, negative values, or values that need more than 32 bits.
    """
    if array.dtype.kind == "f" and not (np.isfinite(array) & (array == np.rint(array))).all():
        raise UserError(f"{path} holds fractions, not labels; give a labelmap of whole numbers.")
    low, high = array.min(), array.max()
    if low < 0 or high >= 2**32:
        raise UserError(f"{path} has voxels from {low} to {high}; labels run from 0 up.")
    return array.astype(np.min_scalar_type(int(high)), copy=False)


def _lattice_step(
    own: Grid, grid: Grid, path: Path
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """For each axis of ``grid``: the file's axis, its sign, and the index where the file begins."""
    step = grid.ras_to_ijk @ own.ijk_to_ras
    whole = np.rint(step)
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in own.size])).reshape(3, -1).T
    gap = np.abs(corners @ (step - whole)[:3, :3].T + (step - whole)[:3, 3])
    permutation = np.abs(whole[:3, :3])
    regular = (permutation.sum(0) == 1).all() and (permutation.sum(1) == 1).all()
    if not regular or permutation.max() != 1 or gap.max() > _TOLERANCE:
        raise UserError(
            f"{path} is not on the volume's voxel grid ({_describe(own)}; the volume has "
            f"{_describe(grid)}); resample it to the volume with nearest neighbours first."
        )
    axes = tuple(int(np.argmax(permutation[i])) for i in range(3))
    signs = tuple(int(whole[i, axes[i]]) for i in range(3))
    lowest = (corners @ whole[:3, :3].T + whole[:3, 3]).min(0)
    return axes, signs, tuple(int(n) for n in lowest)


def _describe(grid: Grid) -> str:
    size, spacing = "x".join(map(str, grid.size)), "x".join(f"{s:.3g}" for s in grid.spacing)
    return f"{size} voxels of {spacing} mm"


def read_segments(path: Path | str) -> dict[int, Segment]:
    """Names and colours by label that a ``.seg.nrrd`` file carries; empty for other files."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        with quiet_itk():
            reader.ReadImageInformation()
    except RuntimeError:
        return {}
    segments: dict[int, Segment] = {}
    index = 0
    while reader.HasMetaDataKey(f"Segment{index}_LabelValue"):
        prefix = f"Segment{index}_"
        try:
            label = int(reader.GetMetaData(prefix + "LabelValue"))
            red, green, blue = map(float, reader.GetMetaData(prefix + "Color").split())
            segments[label] = Segment(reader.GetMetaData(prefix + "Name"), (red, green, blue))
        except (RuntimeError, ValueError):
            pass
        index += 1
    return segments
