"""Small DICOM series on disk, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

ORIGIN, SPACING = np.array((5.0, -7.0, 9.0)), (0.8, 0.9, 3.0)


def write_series(
    folder: Path,
    array: np.ndarray,
    series: str = "1.2.3.4",
    axes: Sequence[float] = (1, 0, 0, 0, 1, 0),
    steps: Sequence[Sequence[float]] | None = None,
    **elements: object,
) -> Path:
    """Write stored values as CT slices whose file names are not in the order of the slices.

    Args:
        folder: made if needed.
        array: (K, J, I) int16 stored values, or (K, J, I, 3) uint8 colours.
        axes: direction cosines of rows and columns in LPS.
        steps: offset of every slice from the first in LPS millimetres; None is regular.
        elements: further DICOM elements by keyword.
    """
    folder.mkdir(parents=True, exist_ok=True)
    normal = np.cross(axes[:3], axes[3:])
    for number, pixels in enumerate(array):
        step = normal * SPACING[2] * number if steps is None else np.array(steps[number])
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = f"{series}.{number + 1}"
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        name = folder / f"{series}-{number * 7 % len(array):03d}"
        data = FileDataset(name, {}, file_meta=meta, preamble=b"\0" * 128)
        data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        data.StudyInstanceUID, data.SeriesInstanceUID = "1.2.3", series
        data.Modality, data.InstanceNumber = "CT", number + 1
        data.ImagePositionPatient = [f"{value:.9g}" for value in ORIGIN + step]
        data.ImageOrientationPatient = [f"{value:.9g}" for value in axes]
        data.PixelSpacing = [SPACING[1], SPACING[0]]
        data.Rows, data.Columns = pixels.shape[:2]
        colour = pixels.ndim == 3
        data.SamplesPerPixel = 3 if colour else 1
        data.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
        if colour:
            data.PlanarConfiguration = 0
        data.BitsAllocated = data.BitsStored = 8 if colour else 16
        data.HighBit, data.PixelRepresentation = data.BitsStored - 1, 0 if colour else 1
        data.PixelData = pixels.tobytes()
        for keyword, value in elements.items():
            setattr(data, keyword, value)
        data.save_as(name, enforce_file_format=True)
    return folder
