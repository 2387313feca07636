"""nnU-Net 2's raw data: Isensee et al. 2021, "nnU-Net: a self-configuring method"."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..errors import UserError
from .case import CaseFiles
from .dataset import Dataset
from .description import Description
from .found import assemble, existing, unlabelled
from .naming import SUFFIXES, PatientRule, modality_of, same_as_case


def read_nnunet(folder: Path, patient: PatientRule | None = None) -> Dataset:
    """Read ``imagesTr/CASE_0000.nii.gz`` and ``labelsTr/CASE.nii.gz``; a case is a patient.

    Raises:
        UserError: unreadable ``dataset.json``, files that are no volumes, folders missing.
    """
    description = Description.read(folder)
    ending = description.values.get("file_ending")
    if not isinstance(ending, str) or not ending.lower().endswith(SUFFIXES):
        raise UserError(
            f"{description.path} gives the file ending {ending!r}; volumes end with one of "
            f"{', '.join(SUFFIXES)}."
        )
    listed = description.values.get("dataset")
    if isinstance(listed, dict):
        files = {str(name): _listed(folder, name, entry) for name, entry in listed.items()}
    else:
        files = _on_disk(folder, ending, len(description.channels))
    patient = patient or same_as_case
    cases, problems = assemble(_cases(description, files, patient))
    total = description.values.get("numTraining")
    if isinstance(total, int) and total != len(files):
        problems += (
            f"{description.path} announces {total} training cases, but {folder} holds "
            f"{len(files)}; restore the missing ones or correct numTraining.",
        )
    return Dataset(
        folder.resolve().name, "nnunet", description.classes, description.channels, cases, problems,
        description.notes,
    )  # fmt: skip


_Files = tuple[tuple[Path, ...], Path]


def _on_disk(folder: Path, ending: str, n_channels: int) -> Mapping[str, _Files]:
    """For each case that has an image or labels: where all of them should be."""
    images, labels = existing(folder, "imagesTr"), existing(folder, "labelsTr")
    pattern = re.compile(rf"(.+)_\d{{4}}{re.escape(ending)}")
    found = [pattern.fullmatch(path.name) for path in images.iterdir()]
    names = {match.group(1) for match in found if match and not match.group(1).startswith(".")}
    names |= {
        path.name.removesuffix(ending)
        for path in labels.iterdir()
        if path.name.endswith(ending) and not path.name.startswith(".")
    }
    return {
        name: (
            tuple(images / f"{name}_{n:04d}{ending}" for n in range(n_channels)),
            labels / f"{name}{ending}",
        )
        for name in sorted(names)
    }


def _listed(folder: Path, name: str, entry: object) -> _Files:
    """An entry of the optional list of cases, whose paths begin at the dataset's root."""
    try:
        return tuple(folder / path for path in entry["images"]), folder / entry["label"]
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{folder / 'dataset.json'}: the case {name} under 'dataset' needs 'images' and "
            "'label'."
        ) from error


def _cases(
    description: Description, files: Mapping[str, _Files], patient: PatientRule
) -> Iterator[CaseFiles | str]:
    channels = description.channels
    for name, (images, labels) in files.items():
        missing = next((path for path in images if not path.is_file()), None)
        if len(images) != len(channels):
            yield (
                f"Case {name}: {description.path} gives it {len(images)} image(s), not one for "
                f"each of {', '.join(channels)}."
            )
        elif missing is not None:
            yield (
                f"Case {name}: {missing} ({channels[images.index(missing)]}) is not there; restore "
                "it or take the case out."
            )
        elif not labels.is_file():
            yield unlabelled(name, images[0])
        else:
            yield CaseFiles(
                name, patient(name), images, labels, description.allowed, modality_of(channels)
            )
