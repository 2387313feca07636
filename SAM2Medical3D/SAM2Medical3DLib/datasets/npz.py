"""Cases as MedSAM2 and the CVPR interactive-segmentation challenge ship them: one ``.npz`` each."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..geometry import Grid
from ..volume import Volume

_RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0])


def npz_arrays(path: Path) -> tuple[str, ...]:
    """Names of the arrays in a file, without reading them.

    Raises:
        UserError: not an ``.npz`` file.
    """
    try:
        with zipfile.ZipFile(path) as file:
            return tuple(name.removesuffix(".npy") for name in file.namelist())
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path} cannot be read: it is missing, damaged or no .npz file."
        ) from error


def read_npz(path: Path | str) -> tuple[Volume, np.ndarray | None]:
    """Read ``imgs`` and ``gts``, both (K, J, I) with slices first.

    ``spacing`` is in the order I, J, K (as ITK gives it) in millimetres. ``direction`` (nine
    numbers, ITK's LPS cosines row by row) and ``origin`` (LPS millimetres) are optional: without
    them, slices are taken as axial, from inferior to superior, in radiological order.

    Returns:
        The volume, and ``gts`` as stored or None where the file has none.

    Raises:
        UserError: unreadable, ``imgs`` or ``spacing`` missing, or shapes that do not fit.
    """
    path = Path(path)
    arrays = _read(path, ("imgs", "spacing"), ("direction", "origin", "gts"))
    images, labels = arrays["imgs"], arrays.get("gts")
    spacing = np.asarray(arrays["spacing"], float)
    direction = np.asarray(arrays.get("direction", np.eye(3)), float)
    origin = np.asarray(arrays.get("origin", np.zeros(3)), float)
    if spacing.shape != (3,) or direction.size != 9 or origin.shape != (3,):
        raise UserError(
            f"{path}: spacing and origin must have 3 numbers and direction 9, not "
            f"{spacing.size}, {origin.size} and {direction.size}."
        )
    matrix = np.eye(4)
    matrix[:3, :3] = _RAS_FROM_LPS @ direction.reshape(3, 3) * spacing
    matrix[:3, 3] = _RAS_FROM_LPS @ origin
    grid = Grid(images.shape[2::-1] if images.ndim > 2 else (0, 0, 0), matrix)
    volume = Volume(images, grid, path.stem)
    if labels is not None and labels.shape != images.shape:
        raise UserError(
            f"{path}: image and labels are on different grids ({_shape(images)} voxels against "
            f"{_shape(labels)}); resample the labels onto the image."
        )
    return volume, labels


def read_npz_labels(path: Path) -> np.ndarray:
    """``gts`` alone.

    Raises:
        UserError: unreadable, or without ``gts``.
    """
    return _read(path, ("gts",))["gts"]


def _read(
    path: Path, needed: tuple[str, ...], optional: tuple[str, ...] = ()
) -> dict[str, np.ndarray]:
    """Those of the arrays that are there."""
    names = npz_arrays(path)
    for name in needed:
        if name not in names:
            raise UserError(f"{path} has no array '{name}'; add {' and '.join(needed)} to it.")
    try:
        # Pickled objects could run code; arrays of numbers need none.
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in (*needed, *optional) if name in names}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} is damaged ({error}); copy or download it again.") from error


def _shape(array: np.ndarray) -> str:
    return "x".join(map(str, array.shape[::-1]))
