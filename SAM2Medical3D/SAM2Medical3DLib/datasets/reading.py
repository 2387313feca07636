"""The voxels of a case: one channel of its image, and its labels on the image's grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import UserError
from ..files import read_labelmap, read_volume
from ..files.images import array_of, check_complete, grid_of, has_suffix, quiet_itk
from ..files.labelmap import as_labels
from ..files.reading import read_image
from ..geometry import Grid
from ..volume import Volume
from .npz import read_npz, read_npz_labels

LARGEST_LABEL = 65535
# How far voxel centres of image and labels may lie apart, in voxels: rounding in headers.
_TOLERANCE = 0.05


def read_case(
    images: tuple[Path, ...], channel: int, labels: Path | None
) -> tuple[Volume, np.ndarray | None]:
    """One channel of an image and its labels.

    Args:
        images: as in :class:`CaseFiles`.
        channel: index into ``images``.
        labels: the label file, or None.

    Returns:
        The volume, and (K, J, I) unsigned integers on its grid or None.

    Raises:
        UserError: as in :meth:`CaseFiles.load`.
    """
    path = images[channel]
    if has_suffix(path, ".npz"):
        volume, stored = read_npz(path)
        if labels == path:
            return volume, _checked(stored, path)
    elif images.count(path) > 1:
        volume = _read_channel(path, channel, images.count(path))
    else:
        volume = read_volume(path)
    return volume, None if labels is None else _read_labels(labels, volume.grid)


def values_in(labels: np.ndarray) -> frozenset[int]:
    """The labels from 1 to 65535 in an array of them."""
    seen = np.zeros(LARGEST_LABEL + 1, bool)
    # Slice by slice: sorting or counting a whole volume takes many times its memory.
    for part in labels:
        seen[part] = True
    return frozenset(int(value) for value in np.flatnonzero(seen) if value)


def values_in_file(path: Path) -> frozenset[int]:
    """The labels in a label file or in the ``gts`` of an ``.npz``, wherever its grid is.

    Raises:
        UserError: unreadable, or not labels.
    """
    if has_suffix(path, ".npz"):
        return values_in(_checked(read_npz_labels(path), path))
    return values_in(_checked(array_of(read_image(path)), path))


def _read_channel(path: Path, channel: int, n_channels: int) -> Volume:
    """One of the channels in the last dimension of a 4D file; the others never fill the memory."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        with quiet_itk():
            reader.ReadImageInformation()
            size = reader.GetSize()
            found = size[3] if len(size) == 4 else 1
            if len(size) > 4 or found != n_channels or reader.GetNumberOfComponents() > 1:
                raise UserError(
                    f"{path} holds {found} channel{'s' if found > 1 else ''} "
                    f"({'x'.join(map(str, size))} voxels), not the {n_channels} that the dataset's "
                    "description names."
                )
            check_complete(path)
            reader.SetExtractSize([*size[:3], 0])
            reader.SetExtractIndex([0, 0, 0, channel])
            image = reader.Execute()
    except RuntimeError as error:
        raise UserError(f"{path} cannot be read: it is missing, damaged or no image.") from error
    return Volume(array_of(image), grid_of(image), path.name)


def _read_labels(path: Path, grid: Grid) -> np.ndarray:
    """Labels of a file that covers the grid's region, stored in any axis order and direction.

    A ``.seg.nrrd`` may cover a part of it: 3D Slicer crops segmentations to their segments.
    """
    _check_grid(path, grid)
    return _checked(read_labelmap(path, grid), path)


def check_headers(images: tuple[Path, ...], channel: int, labels: Path | None) -> None:
    """Compare the grids of image and labels without reading a voxel, where headers tell them.

    Raises:
        UserError: if they differ.
    """
    path = images[channel]
    # Of DICOM folders, 4D files and .npz only reading tells.
    if labels is None or labels == path or images.count(path) > 1 or not path.is_file():
        return
    if (grid := _grid_in_header(path)) is not None:
        _check_grid(labels, grid)


def _check_grid(labels: Path, grid: Grid) -> None:
    own = _grid_in_header(labels)
    if own is not None and not has_suffix(labels, ".seg.nrrd") and not _coincide(own, grid):
        ours, theirs = _describe(grid), _describe(own)
        if ours == theirs:
            ours, theirs = f"{ours}, axes {_axes(grid)}", f"{theirs}, axes {_axes(own)}"
        raise UserError(
            f"{labels}: image and labels are on different grids ({ours} against {theirs}); "
            "resample the labels onto the image."
        )


def _grid_in_header(path: Path) -> Grid | None:
    """None if the file is no 3D image; reading it will say why."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        with quiet_itk():
            reader.ReadImageInformation()
        return grid_of(reader) if reader.GetDimension() >= 3 else None
    except RuntimeError:
        return None


def _coincide(own: Grid, grid: Grid) -> bool:
    """Whether both grids have the same voxels, whatever the order they are stored in."""
    step = grid.ras_to_ijk @ own.ijk_to_ras
    whole = np.abs(np.rint(step[:3, :3]))
    if (whole.sum(0) != 1).any() or (whole.sum(1) != 1).any():
        return False
    if (whole @ own.size != grid.size).any():
        return False
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in own.size])).reshape(3, -1).T
    placed = corners @ step[:3, :3].T + step[:3, 3]
    last = np.array(grid.size) - 1
    return bool(np.minimum(np.abs(placed), np.abs(placed - last)).max() <= _TOLERANCE)


def _checked(array: np.ndarray, path: Path) -> np.ndarray:
    """Voxels as labels of 8 or 16 bits."""
    labels = as_labels(array, path)
    highest = int(labels.max())
    if highest > LARGEST_LABEL:
        raise UserError(f"{path} holds the label {highest}; labels run from 0 to {LARGEST_LABEL}.")
    return labels


def _describe(grid: Grid) -> str:
    lps = np.diag([-1.0, -1.0, 1.0]) @ grid.ijk_to_ras[:3, 3]
    size, spacing = "x".join(map(str, grid.size)), "x".join(f"{s:.4g}" for s in grid.spacing)
    return f"{size} of {spacing} mm at {', '.join(f'{x:.4g}' for x in lps)}"


def _axes(grid: Grid) -> str:
    """Directions of I, J and K in RAS."""
    columns = (grid.ijk_to_ras[:3, :3] / grid.spacing).T + 0.0
    return ", ".join(" ".join(f"{x:.3g}" for x in column) for column in columns)
