"""The real volumes that models here are measured on, and never trained on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..datasets import CaseFiles
from ..errors import UserError
from ..volume import SliceStack
from .objects import ObjectCase
from .tasks import CaseTask, mask_of

DEVELOPMENT = "development"

# TotalSegmentator's class numbers.
_ABDOMEN_3MM = {
    "spleen": 1, "right kidney": 2, "left kidney": 3, "liver": 5, "stomach": 6, "aorta": 52,
}  # fmt: skip
_ABDOMEN_DICOM = {
    "spleen": 1, "liver": 5, "stomach": 6, "aorta": 52, "T12": 32, "colon": 20, "vena cava": 63,
}  # fmt: skip


def development_cases(folder: Path) -> list[CaseTask]:
    """Six volumes with 17 objects.

    Args:
        folder: with ``ct-abdomen-3mm``, ``ct-abdomen-dicom``, ``ct-lesions``, ``mr-brain-tumor``.

    Raises:
        UserError: if the folder is not there.
    """
    if not (folder / "ct-abdomen-3mm").is_dir():
        raise UserError(f"There are no development volumes in '{folder}'; give their folder.")

    def task(name: str, image: Path, labels: Path, objects: dict[str, int]) -> CaseTask:
        files = CaseFiles(name, name, (image,), labels)
        return CaseTask(DEVELOPMENT, files, tuple((k, (v,)) for k, v in objects.items()))

    three, dicom = folder / "ct-abdomen-3mm", folder / "ct-abdomen-dicom"
    brain = folder / "mr-brain-tumor"
    lesions = sorted((folder / "ct-lesions").glob("*.npz"))
    return [
        task("CT abdomen 3 mm", three / "ct.nii.gz", three / "labels.nii.gz", _ABDOMEN_3MM),
        task("CT abdomen DICOM", dicom / "series", dicom / "labels.nii.gz", _ABDOMEN_DICOM),
        *(
            CaseTask(
                DEVELOPMENT,
                CaseFiles(f"CT lesion {n}", f"CT lesion {n}", (path,), path),
                (("lesion", ()),),
            )
            for path in lesions
            for n in [path.stem.split("_")[2]]
        ),
        task("MR brain", brain / "mr.nrrd", brain / "labels.nrrd", {"tumour": 1}),
    ]


def real_cases(folder: Path, plane: str = "axial") -> Iterator[ObjectCase]:
    """The 17 objects, volume by volume, on all slices along a plane.

    Raises:
        UserError: if the folder is not there, or one of its volumes cannot be read.
    """
    for task in development_cases(folder):
        loaded = task.load()
        stack = SliceStack(loaded.volume, plane)
        for name, values in task.objects:
            mask = mask_of(loaded.labels, values)
            yield ObjectCase.of(task.dataset, task.case, name, stack, mask)
