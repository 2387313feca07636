"""Volumes from image files."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk

from ..errors import UserError
from ..volume import Volume
from .dicom import read_dicom_folder
from .images import array_of, check_complete, grid_of, has_suffix, quiet_itk


def read_volume(path: Path | str) -> Volume:
    """Read a scalar 3D volume.

    Args:
        path: a NIfTI, NRRD, MetaImage or other file that SimpleITK reads, or a folder with a DICOM
            series; ``FOLDER#SERIES_UID`` chooses one of several series in a folder.

    Returns:
        The volume; voxels (K, J, I) in the file's units with slope and intercept applied, the grid
        in RAS millimetres, and the display window if the file is DICOM and has one.

    Raises:
        UserError: no such file, unreadable or truncated, colour, 4D, a single slice, constant, no
            finite voxel, or a folder without a series or with several.
    """
    text, path = str(path), Path(path)
    if path.is_dir():
        return read_dicom_folder(path)
    if not path.exists():
        folder, mark, series = text.rpartition("#")
        if mark and Path(folder).is_dir():
            return read_dicom_folder(Path(folder), series)
        raise UserError(f"There is no file or folder {path}.")
    image = read_image(path)
    return Volume(array_of(image), grid_of(image), name=path.name)


def read_image(path: Path) -> sitk.Image:
    """Read a scalar image file of three dimensions, the third longer than one.

    The header is looked at first, so that an unsuitable file is refused before it fills the memory.

    Raises:
        UserError: as in :func:`read_volume`.
    """
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        with quiet_itk():
            reader.ReadImageInformation()
            _check_header(path, reader)
            check_complete(path)
            image = reader.Execute()
    except RuntimeError as error:
        if "orthonormal" in str(error):
            raise UserError(
                f"{path}: the axes in its NIfTI header are not at right angles; resample it to a "
                "regular grid first."
            ) from error
        raise UserError(
            f"{path} cannot be read: it is damaged or not an image (NIfTI, NRRD, MetaImage or a "
            "folder with a DICOM series are)."
        ) from error
    while image.GetDimension() > 3:
        image = image[..., 0]
    return image


def _check_header(path: Path, header: sitk.ImageFileReader) -> None:
    size = header.GetSize()
    shape = "x".join(map(str, size))
    if header.GetNumberOfComponents() > 1:
        raise UserError(
            f"{path} has {header.GetNumberOfComponents()} values per voxel (colour or vectors); "
            "a single-channel volume is needed: extract one channel first."
        )
    if any(n > 1 for n in size[3:]):
        raise UserError(
            f"{path} is a {len(size)}D sequence ({shape}); a 3D volume is needed: extract one "
            "time point first."
        )
    if len(size) < 3 or min(size[:3]) < 2:
        hint = (
            "give the folder that holds the series"
            if _is_dicom(path, header)
            else ("load the whole series as one 3D volume")
        )
        raise UserError(f"{path} is a single slice ({shape} voxels); {hint}.")


def _is_dicom(path: Path, header: sitk.ImageFileReader) -> bool:
    return has_suffix(path, ".dcm", ".ima") or header.HasMetaDataKey("0008|0016")
