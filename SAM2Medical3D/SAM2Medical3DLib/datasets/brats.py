"""BraTS 2020: Menze et al. 2015, Bakas et al. 2017 and 2018."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ..errors import UserError
from .case import CaseFiles
from .dataset import Dataset
from .found import assemble, unlabelled
from .naming import PatientRule, image_files, same_as_case, stem, subfolders

CLASSES = {"NCR/NET": 1, "ED": 2, "ET": 4}
CHANNELS = ("t1", "t1ce", "t2", "flair")
_CASE = re.compile(r"BraTS20_Training_\d{3}")


def case_folders(folder: Path) -> tuple[Path, ...]:
    """Training cases in a folder or in one of its subfolders, as the archive unpacks."""
    for place in (folder, *subfolders(folder)):
        if found := tuple(p for p in subfolders(place) if _CASE.fullmatch(p.name)):
            return found
    return ()


def read_brats(folder: Path, patient: PatientRule | None = None) -> Dataset:
    """Read one folder for each case; a case is a patient.

    Labels: 1 necrotic and non-enhancing tumour core, 2 oedema, 4 enhancing tumour.

    Raises:
        UserError: if there is no training case.
    """
    folders = case_folders(folder)
    if not folders:
        raise UserError(f"{folder} holds no folder named as BraTS20_Training_001.")
    cases, problems = assemble(_cases(folders, patient or same_as_case))
    return Dataset(folder.resolve().name, "brats2020", CLASSES, CHANNELS, cases, problems)


def _cases(folders: tuple[Path, ...], patient: PatientRule) -> Iterator[CaseFiles | str]:
    for folder in folders:
        name = folder.name
        files = {stem(path): path for path in image_files(folder)}
        images = tuple(files.get(f"{name}_{channel}") for channel in CHANNELS)
        # Case 355 was shipped with its segmentation under another name, W39_1998.09.19_Segm.nii.
        labels = files.get(f"{name}_seg") or next(
            (path for key, path in files.items() if key.lower().endswith("_segm")), None
        )
        if None in images:
            missing = f"{name}_{CHANNELS[images.index(None)]}.nii.gz"
            yield f"Case {name}: {folder} has no {missing}; restore it or take the case out."
        elif labels is None:
            yield unlabelled(name, images[0])
        else:
            yield CaseFiles(name, patient(name), images, labels, frozenset(CLASSES.values()), "MR")
