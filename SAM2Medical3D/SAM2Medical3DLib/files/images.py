"""SimpleITK images to arrays and grids, and back."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import UserError
from ..geometry import Grid

_LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
NIFTI_SUFFIXES = (".nii", ".nii.gz")


class ImageWarning(UserWarning):
    """The image can be used, but the user should know something about it."""


class _Buffer:
    """Lends an image's voxels to numpy and keeps the image alive as long as they are used."""

    def __init__(self, image: sitk.Image) -> None:
        self.image = image
        self.__array_interface__ = sitk.GetArrayViewFromImage(image).__array_interface__


def array_of(image: sitk.Image) -> np.ndarray:
    """The voxels of a scalar 3D image as a (K, J, I) array, without a copy."""
    return np.asarray(_Buffer(image))


def grid_of(image: sitk.Image | sitk.ImageFileReader) -> Grid:
    """The voxel grid of a 3D image (ITK's LPS turned into RAS)."""
    lps = np.eye(4)
    direction = np.reshape(image.GetDirection(), (image.GetDimension(),) * 2)[:3, :3]
    lps[:3, :3] = direction * image.GetSpacing()[:3]
    lps[:3, 3] = image.GetOrigin()[:3]
    return Grid(image.GetSize()[:3], _LPS_FROM_RAS @ lps)


def image_on(array: np.ndarray, grid: Grid) -> sitk.Image:
    """A (K, J, I) array as a SimpleITK image on a grid; the voxels are copied."""
    image = sitk.GetImageFromArray(array)
    lps = _LPS_FROM_RAS @ grid.ijk_to_ras
    image.SetSpacing(grid.spacing)
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / grid.spacing).ravel().tolist())
    return image


@contextmanager
def quiet_itk() -> Iterator[None]:
    """Keep ITK's C++ warnings off the terminal: the user gets our own sentences."""
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)


def has_suffix(path: Path, *suffixes: str) -> bool:
    """Whether the file name ends with one of the suffixes, in any case."""
    return path.name.lower().endswith(suffixes)


def check_complete(path: Path) -> None:
    """Check that a NIfTI file holds as many bytes as its header announces.

    ITK reads and writes cut-off NIfTI files without an error and fills the rest with zeros. Other
    formats are left alone: ITK checks those itself.

    Raises:
        UserError: if the file is truncated or its compressed data is damaged.
    """
    if not has_suffix(path, *NIFTI_SUFFIXES):
        return
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    damaged = f"{path} is truncated or damaged; copy or download it again."
    try:
        with quiet_itk():
            reader.ReadImageInformation()
        voxels = int(np.prod(reader.GetSize())) * reader.GetNumberOfComponents()
        expected = voxels * int(reader.GetMetaData("bitpix")) // 8
        expected += int(float(reader.GetMetaData("vox_offset")))
        if _content_length(path) < expected:
            raise UserError(damaged)
    except (EOFError, zlib.error, gzip.BadGzipFile, RuntimeError) as error:
        raise UserError(damaged) from error


def _content_length(path: Path) -> int:
    """Number of bytes after decompression, which is checked on the way."""
    with open(path, "rb") as file:
        if file.read(2) != b"\x1f\x8b":
            return path.stat().st_size
    length = 0
    with gzip.open(path) as file:
        while block := file.read(1 << 20):
            length += len(block)
    return length
