"""The real volumes that models here are measured on, and never trained on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..files import read_volume
from ..geometry import Grid, StackGeometry
from ..volume import IntensityMapping, SliceStack, Volume


@dataclass(frozen=True, eq=False)
class Case:
    """One object of one volume.

    Attributes:
        name: of the volume and object.
        stack: the volume's slices.
        truth: (slice, row, column) bool.
        central: the middle one of the slices that show the object, counted in storage order.
    """

    name: str
    stack: SliceStack
    truth: np.ndarray
    central: int


# (volume, labels) -> {object: label value}, TotalSegmentator's class numbers.
_ABDOMEN_3MM = {
    "spleen": 1, "right kidney": 2, "left kidney": 3, "liver": 5, "stomach": 6, "aorta": 52,
}  # fmt: skip
_ABDOMEN_DICOM = {
    "spleen": 1, "liver": 5, "stomach": 6, "aorta": 52, "T12": 32, "colon": 20, "vena cava": 63,
}  # fmt: skip


def real_cases(folder: Path, plane: str = "axial") -> Iterator[Case]:
    """The 17 rows of the development set, volume by volume.

    Args:
        folder: with ``ct-abdomen-3mm``, ``ct-abdomen-dicom``, ``ct-lesions``, ``mr-brain-tumor``.

    Raises:
        UserError: if the folder is not there.
    """
    if not (folder / "ct-abdomen-3mm").is_dir():
        raise UserError(f"There are no test volumes in '{folder}'; give their folder with --data.")
    three = folder / "ct-abdomen-3mm"
    yield from _objects(
        "CT abdomen 3 mm", read_volume(three / "ct.nii.gz"), three / "labels.nii.gz",
        _ABDOMEN_3MM, plane,
    )  # fmt: skip
    dicom = folder / "ct-abdomen-dicom"
    yield from _objects(
        "CT abdomen DICOM", read_volume(dicom / "series"), dicom / "labels.nii.gz",
        _ABDOMEN_DICOM, plane,
    )  # fmt: skip
    for path in sorted((folder / "ct-lesions").glob("*.npz")):
        volume, labels = read_npz(path)
        yield _case(f"CT lesion {path.stem.split('_')[2]}", _stack(volume, plane), labels > 0)
    brain = folder / "mr-brain-tumor"
    yield from _objects(
        "MR brain", read_volume(brain / "mr.nrrd"), brain / "labels.nrrd", {"tumour": 1}, plane
    )


def read_npz(path: Path) -> tuple[Volume, np.ndarray]:
    """A case as MedSAM2 ships it: ``imgs`` and ``gts`` (slices first), spacing, direction, origin.

    Returns:
        the volume and its (K, J, I) labels.
    """
    with np.load(path) as file:
        images, labels = file["imgs"], file["gts"]
        direction = file["direction"].reshape(3, 3)
        matrix = np.eye(4)
        # LPS, as ITK writes it, to RAS.
        matrix[:3, :3] = np.diag([-1, -1, 1]) @ direction * file["spacing"]
        matrix[:3, 3] = np.diag([-1, -1, 1]) @ file["origin"]
    return Volume(images, Grid(images.shape[::-1], matrix), path.stem), labels


def _objects(
    name: str, volume: Volume, labels: Path, objects: dict[str, int], plane: str
) -> Iterator[Case]:
    array = _labels_on(labels, volume.grid)
    stack = _stack(volume, plane)
    for title, value in objects.items():
        yield _case(f"{name}: {title}", stack, array == value)


def _labels_on(path: Path, grid: Grid) -> np.ndarray:
    """A labelmap resampled onto a grid by nearest neighbour, as (K, J, I)."""
    import SimpleITK as sitk

    to_lps = np.diag([-1.0, -1.0, 1.0])
    reference = sitk.Image(grid.size, sitk.sitkUInt8)
    reference.SetSpacing(grid.spacing)
    reference.SetOrigin((to_lps @ grid.ijk_to_ras[:3, 3]).tolist())
    reference.SetDirection((to_lps @ grid.ijk_to_ras[:3, :3] / grid.spacing).ravel().tolist())
    labels = sitk.ReadImage(str(path))
    moved = sitk.Resample(labels, reference, sitk.Transform(), sitk.sitkNearestNeighbor)
    return sitk.GetArrayFromImage(moved)


def _stack(volume: Volume, plane: str) -> SliceStack:
    return SliceStack(volume, plane, IntensityMapping.automatic(volume))


def _case(name: str, stack: SliceStack, truth_kji: np.ndarray) -> Case:
    truth = stack.geometry.to_stack(truth_kji)
    return Case(name, stack, truth, central_slice(truth_kji, stack.geometry))


def central_slice(mask_kji: np.ndarray, geometry: StackGeometry) -> int:
    """Stack index of the middle one of the slices with foreground, in storage order."""
    axis = geometry.axis
    others = tuple(a for a in range(3) if a != 2 - axis)
    shown = np.flatnonzero(mask_kji.any(others))
    if shown.size == 0:
        raise UserError("The object is on no slice.")
    ijk = np.zeros(3)
    ijk[axis] = shown[len(shown) // 2]
    return int(geometry.stack_from_ijk(ijk)[0])
