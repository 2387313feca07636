"""Finding out what a folder holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..errors import UserError
from ..files.images import has_suffix
from ..files.labelmap import read_segments
from . import plain
from .brats import case_folders as brats_folders
from .brats import read_brats
from .case import CaseFiles
from .dataset import Dataset
from .description import FILE_NAME, Description, read_json
from .found import assemble
from .msd import is_amos, read_amos, read_msd
from .naming import deep_lesion, patient_rule, same_as_case
from .nnunet import read_nnunet
from .reading import values_in_file

_DESCRIBED = {
    "msd": read_msd, "nnunet": read_nnunet, "amos22": read_amos, "brats2020": read_brats,
}  # fmt: skip
LAYOUTS = (*_DESCRIBED, "pairs", "folders", "npz")


def open_dataset(
    folder: Path | str,
    layout: str = "auto",
    *,
    patient_pattern: str | None = None,
    classes: Mapping[str, int] | None = None,
) -> Dataset:
    """Open a labelled dataset; images are not read yet.

    Layouts that name no classes ("pairs", "folders", "npz") have all their label files looked at,
    which takes a while for many; ``classes`` spares it.

    Args:
        folder: its root.
        layout: one of ``LAYOUTS``; "auto" finds out.
        patient_pattern: regular expression whose first group, searched for in the case's name, is
            the patient; None uses the layout's rule.
        classes: label value by name, for layouts that name none.

    Raises:
        UserError: no such folder, no known layout, an unreadable description, no labelled case.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"There is no dataset folder {folder}.")
    if layout == "auto":
        layout = _layout_of(folder)
    rule = None
    if patient_pattern is not None:
        rule = patient_rule(patient_pattern, same_as_case)
    if layout in _DESCRIBED:
        if classes is not None:
            raise UserError(f"{folder} ({layout}) names its classes itself; give none.")
        dataset = _DESCRIBED[layout](folder, rule)
        _check_cases(folder, layout, dataset.cases, dataset.problems)
        return dataset
    if layout == "pairs":
        found = plain.pairs(folder, rule or same_as_case)
    elif layout == "folders":
        found = plain.case_folders(folder, rule or deep_lesion)
    elif layout == "npz":
        found = plain.npz_cases(plain.npz_files(folder), rule)
    else:
        raise UserError(f"Unknown layout '{layout}'; use auto or one of {', '.join(LAYOUTS)}.")
    cases, problems = assemble(found)
    _check_cases(folder, layout, cases, problems)
    named = _classes_in_files(folder, cases) if classes is None else classes
    return Dataset(folder.resolve().name, layout, named, ("image",), cases, problems)


def _layout_of(folder: Path) -> str:
    """The first layout that fits.

    Raises:
        UserError: if none does.
    """
    if (folder / FILE_NAME).is_file():
        values = read_json(folder / FILE_NAME)
        if "channel_names" in values:
            return "nnunet"
        if "training" in values:
            return "amos22" if is_amos(Description.read(folder)) else "msd"
        raise UserError(
            f"{folder / FILE_NAME} has neither 'training' (MSD, AMOS22) nor 'channel_names' "
            "(nnU-Net); repair it or name the layout."
        )
    if brats_folders(folder):
        return "brats2020"
    if plain.has_pairs(folder):
        return "pairs"
    if plain.npz_files(folder):
        return "npz"
    if plain.holds_cases(folder):
        return "folders"
    raise UserError(
        f"{folder} is no dataset of a known layout ({', '.join(LAYOUTS)}): it has no "
        f"{FILE_NAME}, no image with its labels and no .npz file; give the dataset's root."
    )


def _check_cases(
    folder: Path, layout: str, cases: tuple[CaseFiles, ...], problems: tuple[str, ...]
) -> None:
    if not cases:
        reason = problems[0] if problems else "there is none."
        raise UserError(f"{folder} ({layout}) holds no labelled case: {reason}")


def _classes_in_files(folder: Path, cases: tuple[CaseFiles, ...]) -> dict[str, int]:
    """Values in the label files; named where every file is a ``.seg.nrrd`` and they agree."""
    values: set[int] = set()
    for case in cases:
        try:
            values |= values_in_file(case.labels)
        except UserError:
            # Loading the case says so, and stops or goes on as the user wants.
            continue
    if not values:
        raise UserError(f"No label file of {folder} holds a label; check that they are labelmaps.")
    names = _segment_names(cases)
    return {names.get(value, f"label {value}"): value for value in sorted(values)}


def _segment_names(cases: tuple[CaseFiles, ...]) -> dict[int, str]:
    if not all(has_suffix(case.labels, ".seg.nrrd") for case in cases):
        return {}
    pairs = {
        (label, segment.name)
        for case in cases
        for label, segment in read_segments(case.labels).items()
    }
    labels, names = ([pair[n] for pair in pairs] for n in (0, 1))
    agree = len(set(labels)) == len(labels) and len(set(names)) == len(names)
    return dict(pairs) if agree else {}
