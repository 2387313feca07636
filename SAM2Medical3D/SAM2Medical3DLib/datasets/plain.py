"""A user's own files: pairs of image and labels, a folder for each case, or ``.npz`` files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ..errors import UserError
from ..files.images import has_suffix
from .case import CaseFiles
from .found import unlabelled
from .naming import PatientRule, deep_lesion, image_files, labelled_stem, stem, subfolders
from .npz import npz_arrays

# Folder names for pairs, in the order they are looked for.
_PAIRED_FOLDERS = (("images", "labels"), ("imagesTr", "labelsTr"))
_IMAGE_NAMES = ("ct", "mr", "image")
_LABEL_NAMES = ("labels", "label", "seg", "segmentation", "mask")

Found = Iterator[CaseFiles | str]


def paired_folders(folder: Path) -> tuple[Path, Path] | None:
    """The folders with images and with labels, where there are both."""
    for images, labels in _PAIRED_FOLDERS:
        if (folder / images).is_dir() and (folder / labels).is_dir():
            return folder / images, folder / labels
    return None


def has_pairs(folder: Path) -> bool:
    """Whether images and their labels lie in two folders, or side by side as X and X_seg."""
    if paired_folders(folder) is not None:
        return True
    files = image_files(folder)
    names = {stem(path) for path in files}
    return any(labelled_stem(path) in names for path in files)


def pairs(folder: Path, patient: PatientRule) -> Found:
    """Cases whose labels have the image's name, or that name and _seg, -label and the like."""
    separate = paired_folders(folder)
    if separate is None:
        files = image_files(folder)
        labels = [path for path in files if labelled_stem(path) is not None]
        images = [path for path in files if labelled_stem(path) is None]
    else:
        images, labels = (list(image_files(place)) for place in separate)
    of_image: dict[str, Path] = {}
    for path in labels:
        key = labelled_stem(path) if separate is None else stem(path)
        if separate is not None and labelled_stem(path) is not None:
            of_image.setdefault(labelled_stem(path), path)
        of_image[key] = path
    used: set[Path] = set()
    for image in images:
        name = stem(image)
        if name not in of_image:
            # nnU-Net's names, in a folder without its dataset.json.
            name = re.sub(r"_0000$", "", name)
        if name not in of_image:
            yield unlabelled(stem(image), image)
            continue
        used.add(of_image[name])
        yield CaseFiles(name, patient(name), (image,), of_image[name])
    for path in labels:
        if path not in used:
            yield f"The labels {path} have no image of their own; restore it or take them out."


def npz_files(folder: Path) -> tuple[Path, ...]:
    """``.npz`` files of a folder, sorted, without hidden ones."""
    return tuple(p for p in sorted(folder.glob("*.npz")) if not p.name.startswith("."))


def npz_cases(files: tuple[Path, ...], patient: PatientRule | None = None) -> Found:
    """A case for each file; DeepLesion's names tell the patient."""
    for path in files:
        name = stem(path)
        try:
            arrays = npz_arrays(path)
        except UserError as error:
            yield f"Case {name}: {error}"
            continue
        if "gts" not in arrays:
            yield unlabelled(name, path)
        else:
            yield CaseFiles(name, (patient or deep_lesion)(name), (path,), path)


def is_case_folder(folder: Path) -> bool:
    """Whether a folder holds a label file and so is a case of its own."""
    return any(_is_labels(path) for path in image_files(folder))


def holds_cases(folder: Path) -> bool:
    """Whether a folder is a case or some subfolder holds one, or ``.npz`` files."""
    return is_case_folder(folder) or any(
        is_case_folder(inside) or npz_files(inside) for inside in subfolders(folder)
    )


def case_folders(folder: Path, patient: PatientRule) -> Found:
    """A case for each subfolder (or the folder itself): an image or DICOM series, and labels.

    A subfolder with ``.npz`` files gives a case for each of them.
    """
    for inside in (folder,) if is_case_folder(folder) else subfolders(folder):
        if files := npz_files(inside):
            yield from npz_cases(files, patient)
        elif image_files(inside) or _dicom_folders(inside):
            yield _one_case(inside, patient)


def _one_case(folder: Path, patient: PatientRule) -> CaseFiles | str:
    name = folder.resolve().name
    files = image_files(folder)
    labels = [path for path in files if _is_labels(path)]
    images = [path for path in files if not _is_labels(path)]
    if len(images) > 1:
        images = [path for path in images if stem(path).lower() in _IMAGE_NAMES] or images
    images = images or list(_dicom_folders(folder))
    for kind, found in (("images", images), ("label files", labels)):
        if len(found) > 1:
            listed = " and ".join(path.name for path in found[:2])
            return f"Case {name}: {folder} holds several {kind}, {listed}; keep one."
    if not images:
        return f"Case {name}: {folder} holds labels but no image and no DICOM series."
    if not labels:
        return unlabelled(name, images[0])
    return CaseFiles(name, patient(name), (images[0],), labels[0])


def _is_labels(path: Path) -> bool:
    return stem(path).lower() in _LABEL_NAMES or labelled_stem(path) is not None


def _dicom_folders(folder: Path) -> tuple[Path, ...]:
    """The folder itself or subfolders that hold DICOM files, by the first file in them."""
    return tuple(place for place in (folder, *subfolders(folder)) if _begins_with_dicom(place))


def _begins_with_dicom(folder: Path) -> bool:
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith(".") and not has_suffix(path, ".npz"):
            with open(path, "rb") as file:
                if file.read(132)[128:] == b"DICM":
                    return True
    return False
