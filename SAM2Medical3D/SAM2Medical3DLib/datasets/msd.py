"""The Medical Segmentation Decathlon's layout, and AMOS22, which follows it.

MSD: Antonelli et al. 2022, "The Medical Segmentation Decathlon". AMOS22: Ji et al. 2022, "AMOS: A
Large-Scale Abdominal Multi-Organ Benchmark for Versatile Medical Image Segmentation".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from .case import CaseFiles
from .dataset import Dataset
from .description import Description
from .found import assemble
from .naming import PatientRule, image_files, modality_of, msd_number, same_as_case, stem

_AMOS = re.compile(r"^amos_(\d{4})$")
_FIRST_MR = 500
# AMOS22's own file spells it so.
_AMOS_SPELLING = {"arota": "aorta"}


def is_amos(description: Description) -> bool:
    """Whether the first case is named as AMOS22's are."""
    entries = description.entries("training")
    first = entries[0] if entries else None
    return isinstance(first, dict) and bool(_AMOS.match(stem(str(first.get("image", "")))))


def read_msd(folder: Path, patient: PatientRule | None = None) -> Dataset:
    """Read ``dataset.json`` of MSD; nnU-Net 1's, with ``_0000`` in the image names, too.

    A patient is the number in the case's name.
    """
    return _read(folder, "msd", Description.read(folder), patient or msd_number)


def read_amos(folder: Path, patient: PatientRule | None = None) -> Dataset:
    """Read AMOS22; cases from 500 on are MR, and every case is a patient of its own."""
    return _read(folder, "amos22", Description.read(folder), patient or same_as_case)


def _read(folder: Path, layout: str, description: Description, patient: PatientRule) -> Dataset:
    parts: dict[str, tuple[str, ...]] = {}
    found: list[CaseFiles | str] = []
    for part, key in (("train", "training"), ("validation", "validation")):
        entries = description.entries(key)
        if part == "validation":
            # Some releases list validation images without labels: nothing to train on.
            entries = [e for e in entries if isinstance(e, dict) and "label" in e]
        ones = list(_cases(folder, layout, description, entries, patient))
        found.extend(ones)
        parts[part] = tuple(one.name for one in ones if isinstance(one, CaseFiles))
    cases, problems = assemble(found)
    classes = dict(description.classes)
    if layout == "amos22":
        classes = {_AMOS_SPELLING.get(name, name): value for name, value in classes.items()}
    return Dataset(
        folder.resolve().name,
        layout,
        classes,
        ("CT or MR",) if layout == "amos22" else description.channels,
        cases,
        problems,
        (*description.notes, *_unlisted(folder, description)),
        parts if all(parts.values()) else {},
    )


def _cases(
    folder: Path, layout: str, description: Description, entries: list, patient: PatientRule
) -> Iterator[CaseFiles | str]:
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("image"), str):
            yield f"{description.path}: entry {number} of its cases names no image."
            continue
        image = folder / entry["image"]
        name = stem(image)
        if not isinstance(entry.get("label"), str):
            yield f"Case {name} ({image}) is unlabelled: {description.path} names no label for it."
            continue
        labels = folder / entry["label"]
        images = _images(image, len(description.channels))
        missing = next((path for path in (*images, labels) if not path.is_file()), None)
        if missing is not None:
            kind = "label" if missing == labels else "image"
            yield (
                f"Case {name}: {description.path} names the {kind} {missing}, which is not there; "
                "restore it or take the case out."
            )
            continue
        yield CaseFiles(
            name, patient(name), images, labels, description.allowed, _modality(layout, name,
            description.channels),
        )  # fmt: skip


def _images(listed: Path, n_channels: int) -> tuple[Path, ...]:
    """The 4D file once for each channel; or nnU-Net 1's one file for each."""
    if not listed.is_file():
        name = stem(listed)
        suffix = listed.name[len(name) :]
        separate = tuple(listed.with_name(f"{name}_{n:04d}{suffix}") for n in range(n_channels))
        if any(path.is_file() for path in separate):
            return separate
    return (listed,) * n_channels


def _modality(layout: str, name: str, channels: tuple[str, ...]) -> str:
    if layout == "amos22":
        number = _AMOS.match(name)
        return "" if number is None else ("MR" if int(number.group(1)) >= _FIRST_MR else "CT")
    return modality_of(channels)


def _unlisted(folder: Path, description: Description) -> Iterator[str]:
    """Notes on training images that the description does not list, and on wrong totals."""
    listed = {
        Path(str(entry["image"])).name
        for key in ("training", "validation", "test")
        for entry in description.entries(key)
        if isinstance(entry, dict) and "image" in entry
    }
    stems = {stem(name) for name in listed}
    images = folder / "imagesTr"
    extra = [
        path
        for path in (image_files(images) if images.is_dir() else ())
        if path.name not in listed and re.sub(r"_\d{4}$", "", stem(path)) not in stems
    ]
    if extra:
        yield (
            f"{len(extra)} image(s) in {images} are not in {description.path} and are not used, "
            f"{extra[0].name} for one."
        )
    total, n_listed = description.values.get("numTraining"), len(description.entries("training"))
    if isinstance(total, int) and total != n_listed:
        yield f"{description.path} announces {total} training cases and lists {n_listed}."
