"""Names: image files in folders, cases from file names, patients from cases."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from ..errors import UserError

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")

PatientRule = Callable[[str], str]
"""Case name to patient."""

# "liver_seg", "liver-label", "liver.seg" (as in liver.seg.nrrd).
_LABEL_ENDING = re.compile(r"[-_.](seg|segmentation|label|labels|mask)$", re.IGNORECASE)
# DeepLesion: patient, study, series and slices, as CT_Lesion_000015_01_01_081-093.
_DEEP_LESION = re.compile(r"_Lesion_(\d{6})_\d{2}_\d{2}(?:_|$)")


def image_files(folder: Path) -> tuple[Path, ...]:
    """Image files of a folder, sorted; hidden ones, such as macOS' ``._`` files, are left out."""
    return tuple(
        path
        for path in sorted(folder.iterdir())
        if path.name.lower().endswith(SUFFIXES) and not path.name.startswith(".") and path.is_file()
    )


def subfolders(folder: Path) -> tuple[Path, ...]:
    """Folders in a folder, sorted, without hidden ones."""
    return tuple(
        path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")
    )


def stem(path: Path | str) -> str:
    """A file's name without the suffix of an image file."""
    name = Path(path).name
    for suffix in (*SUFFIXES, ".npz"):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def labelled_stem(path: Path) -> str | None:
    """The X of X_seg.nii.gz, X-label.nrrd and the like; None if the name is no label file's."""
    name = stem(path)
    shorter = _LABEL_ENDING.sub("", name)
    return None if shorter == name else shorter


def patient_rule(pattern: str | None, default: PatientRule) -> PatientRule:
    """The rule of a layout, or the one that a user's regular expression makes.

    Args:
        pattern: its first group, searched for in the case's name, is the patient; None takes
            ``default``.

    Raises:
        UserError: the pattern is malformed or has no group; the rule itself, if it does not fit.
    """
    if pattern is None:
        return default
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(f"The patient pattern '{pattern}' is malformed: {error}.") from error
    if not compiled.groups:
        raise UserError(
            f"The patient pattern '{pattern}' has no group; put the patient's part in brackets, "
            r"as in '^(P\d+)_'."
        )

    def rule(name: str) -> str:
        found = compiled.search(name)
        if found is None or not found.group(1):
            raise UserError(
                f"The patient pattern '{pattern}' finds no patient in the case name '{name}'."
            )
        return found.group(1)

    return rule


def same_as_case(name: str) -> str:
    """Every case is a patient of its own."""
    return name


def msd_number(name: str) -> str:
    """The 10 of MSD's spleen_10; the whole name if it is of another kind."""
    found = re.fullmatch(r"[A-Za-z]+_(\d+)", name)
    return found.group(1) if found else name


def deep_lesion(name: str) -> str:
    """The 000015 of DeepLesion's CT_Lesion_000015_01_01_081-093; else the whole name."""
    found = _DEEP_LESION.search(name)
    return found.group(1) if found else name


def modality_of(channels: tuple[str, ...]) -> str:
    """CT or MR, where every channel's name says so; else an empty string."""
    kinds = {_kind(channel) for channel in channels}
    return kinds.pop() if len(kinds) == 1 else ""


def _kind(channel: str) -> str:
    if channel.upper() == "CT":
        return "CT"
    return "MR" if re.match(r"(?i)(MR|T1|T2|FLAIR|ADC)", channel) else ""
