"""A folder with a DICOM series as one volume."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import UserError
from ..volume import Volume
from .images import ImageWarning, array_of, grid_of, quiet_itk

_WINDOW_CENTER, _WINDOW_WIDTH = "0028|1050", "0028|1051"
_POSITION, _ORIENTATION = "0020|0032", "0020|0037"


def read_dicom_folder(folder: Path, series: str | None = None) -> Volume:
    """Read one DICOM series.

    Args:
        folder: folder that holds the slices.
        series: Series Instance UID; needed only where the folder holds several.

    Returns:
        The volume with rescale slope and intercept applied and the display window of its middle
        slice.

    Raises:
        UserError: no series, several series and none chosen, an unknown UID, one slice, colour,
            several images at one position, unreadable slices.
    """
    with quiet_itk():
        files = _series_files(folder, series)
        if len(files) == 1 and _depth(files[0]) < 2:
            raise UserError(f"{folder} holds a single DICOM slice; give the whole series.")
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(files)
        reader.MetaDataDictionaryArrayUpdateOn()
        # Without this a tilted series would be straightened, and every slice but the first moved.
        reader.ForceOrthogonalDirectionOff()
        try:
            image = reader.Execute()
        except RuntimeError as error:
            raise UserError(
                f"The DICOM series in {folder} cannot be read as one volume: its slices are "
                "damaged or differ in size; convert it to NIfTI or NRRD first."
            ) from error
    if image.GetNumberOfComponentsPerPixel() > 1:
        raise UserError(
            f"The DICOM series in {folder} is in colour; a single-channel volume is needed."
        )
    if image.GetDimension() != 3:
        raise UserError(f"The DICOM series in {folder} is not 3D; extract one time point first.")
    if len(files) > 1:
        _check_positions(folder, reader, len(files))
    window = _window(reader, len(files) // 2)
    return Volume(array_of(image), grid_of(image), name=folder.resolve().name, window=window)


def _series_files(folder: Path, series: str | None) -> tuple[str, ...]:
    """The files of a series in the order of their positions."""
    found = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    if not found:
        raise UserError(f"{folder} holds no DICOM series; give the folder that holds the slices.")
    by_series = {
        uid: sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid) for uid in found
    }
    if (len(found) > 1) if series is None else (series not in by_series):
        listed = ", ".join(f"{uid} ({len(names)} slices)" for uid, names in by_series.items())
        trouble = f"has no series {series}" if series else f"holds {len(found)} DICOM series"
        raise UserError(f"{folder} {trouble}; give {folder}#UID with one of: {listed}.")
    _warn_of_unread_files(folder, {Path(name) for names in by_series.values() for name in names})
    return by_series[found[0] if series is None else series]


def _warn_of_unread_files(folder: Path, read: set[Path]) -> None:
    """GDCM passes over truncated slices in silence, and the volume would be short of them."""
    unread = [
        path.name
        for path in sorted(folder.iterdir())
        if path not in read
        and path.is_file()
        and path.name.upper() != "DICOMDIR"
        and _is_dicom(path)
    ]
    if unread:
        warnings.warn(
            f"{len(unread)} DICOM file(s) in {folder} are no readable images and were left out, "
            f"{unread[0]} for one; slices may be missing.",
            ImageWarning,
            stacklevel=4,
        )


def _is_dicom(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"


def _depth(file: str) -> int:
    reader = sitk.ImageFileReader()
    reader.SetFileName(file)
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return 1
    return reader.GetSize()[2] if reader.GetDimension() > 2 else 1


def _numbers(reader: sitk.ImageSeriesReader, slice_: int, key: str) -> list[float]:
    """The values of a DICOM tag; empty when it is missing or malformed."""
    if not reader.HasMetaDataKey(slice_, key):
        return []
    try:
        return [float(part) for part in reader.GetMetaData(slice_, key).split("\\")]
    except ValueError:
        return []


def _window(reader: sitk.ImageSeriesReader, slice_: int) -> tuple[float, float] | None:
    """The first display window of a slice as (lowest, highest) intensity."""
    center = _numbers(reader, slice_, _WINDOW_CENTER)
    width = _numbers(reader, slice_, _WINDOW_WIDTH)
    if not center or not width or not width[0] > 0:
        return None
    return center[0] - width[0] / 2, center[0] + width[0] / 2


def _check_positions(folder: Path, reader: sitk.ImageSeriesReader, n_slices: int) -> None:
    """Refuse repeated positions; warn of missing ones, uneven gaps and tilt."""
    positions = [_numbers(reader, i, _POSITION) for i in range(n_slices)]
    axes = _numbers(reader, 0, _ORIENTATION)
    if len(axes) != 6 or any(len(position) != 3 for position in positions):
        warnings.warn(
            f"The DICOM series in {folder} has no slice positions: its slice spacing is unknown.",
            ImageWarning,
            stacklevel=3,
        )
        return
    steps = np.diff(np.array(positions), axis=0)
    normal = np.cross(axes[:3], axes[3:])
    gaps = np.abs(steps @ normal)
    if gaps.min() < 1e-3:
        raise UserError(
            f"The DICOM series in {folder} has several images at the same position (a time series "
            "or several echoes); export one of them as a series of its own."
        )
    if gaps.max() - gaps.min() > max(0.02 * np.median(gaps), 0.02):
        warnings.warn(
            f"The slices of {folder} are unevenly spaced ({gaps.min():.2f} to {gaps.max():.2f} mm; "
            "slices may be missing): positions and volumes in mm are approximate.",
            ImageWarning,
            stacklevel=3,
        )
    across = steps - np.outer(steps @ normal, normal)
    if np.linalg.norm(across, axis=1).max() > 0.02 * gaps.min():
        warnings.warn(
            f"The slices of {folder} are shifted against each other (gantry tilt): the volume's "
            "axes are not at right angles, which some programs do not show correctly.",
            ImageWarning,
            stacklevel=3,
        )
