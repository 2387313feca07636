"""Which cases a model learns from and which ones it is measured on."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ..errors import UserError
from ..files import replacing
from .case import CaseFiles
from .dataset import Dataset

DEFAULT_FRACTIONS: Mapping[str, float] = MappingProxyType({"train": 0.8, "validation": 0.2})


@dataclass(frozen=True)
class Split:
    """Parts of a dataset that share no patient.

    Attributes:
        dataset: its name.
        seed: what the parts were drawn with; None if they were not drawn.
        parts: sorted case names by part, such as "train" and "validation".
    """

    dataset: str
    seed: int | None
    parts: Mapping[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        parts = {part: tuple(sorted(names)) for part, names in self.parts.items()}
        object.__setattr__(self, "parts", parts)

    def __getitem__(self, part: str) -> tuple[str, ...]:
        """Case names of a part.

        Raises:
            UserError: if there is no such part.
        """
        if part not in self.parts:
            known = ", ".join(self.parts)
            raise UserError(f"The split of {self.dataset} has no part '{part}'; it has {known}.")
        return self.parts[part]

    def cases(self, dataset: Dataset, part: str) -> tuple[CaseFiles, ...]:
        """The cases of a part, sorted by name.

        Raises:
            UserError: no such part, or a case that the dataset does not have.
        """
        by_name = {case.name: case for case in dataset.cases}
        for name in self[part]:
            if name not in by_name:
                raise UserError(
                    f"The split's case {name} is not in {dataset.name}: make a new split or bring "
                    "the case back."
                )
        return tuple(by_name[name] for name in self[part])

    def without(self, names: Collection[str]) -> Split:
        """The same parts without some cases."""
        parts = {
            part: tuple(name for name in own if name not in names)
            for part, own in self.parts.items()
        }
        return Split(self.dataset, self.seed, parts)


def split_by_patient(
    dataset: Dataset, seed: int, fractions: Mapping[str, float] = DEFAULT_FRACTIONS
) -> Split:
    """Split a dataset at random; all cases of a patient stay together.

    Patients are ordered by a hash of the seed and their name, so the result depends on nothing
    else: not on the order of files, and not on the version of a random generator.

    Args:
        dataset: what to split.
        seed: any whole number.
        fractions: of the patients (not the cases) in every part, summing to 1.

    Raises:
        UserError: fractions that do not sum to 1, or fewer patients than parts.
    """
    if (
        not fractions
        or min(fractions.values()) <= 0
        or not math.isclose(sum(fractions.values()), 1, abs_tol=1e-6)
    ):
        raise UserError(
            f"The fractions of a split must be above 0 and sum to 1, not {dict(fractions)}."
        )
    patients = sorted(
        {case.patient for case in dataset.cases},
        key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest(),
    )
    parts: dict[str, tuple[str, ...]] = {}
    first = 0
    for part, size in _sizes(dataset.name, len(patients), fractions).items():
        chosen = set(patients[first : first + size])
        parts[part] = tuple(case.name for case in dataset.cases if case.patient in chosen)
        first += size
    return Split(dataset.name, seed, parts)


def _sizes(name: str, n_patients: int, fractions: Mapping[str, float]) -> dict[str, int]:
    """Patients in every part: at least one, else as near to the fraction as whole numbers are."""
    if n_patients < len(fractions):
        raise UserError(
            f"{name} has {n_patients} labelled patient{'s' if n_patients != 1 else ''}, too few "
            f"for {', '.join(fractions)}: every part needs one; add cases or use fewer parts."
        )
    wanted = {part: fraction * n_patients for part, fraction in fractions.items()}
    sizes = {part: max(1, math.floor(ideal)) for part, ideal in wanted.items()}
    while sum(sizes.values()) < n_patients:
        sizes[max(sizes, key=lambda part: wanted[part] - sizes[part])] += 1
    while sum(sizes.values()) > n_patients:
        spare = [part for part in sizes if sizes[part] > 1]
        sizes[max(spare, key=lambda part: sizes[part] - wanted[part])] -= 1
    return sizes


def published_split(dataset: Dataset) -> Split:
    """The parts that the dataset's authors publish (AMOS22: train and validation).

    Raises:
        UserError: if they publish none with labels, or a part of it is empty here.
    """
    if not dataset.published:
        raise UserError(
            f"{dataset.name} comes without a published split of its labelled cases; "
            "split it by patient."
        )
    split = Split(dataset.name, None, dataset.published)
    _check(split, dataset, f"The published split of {dataset.name}")
    return split


def write_split(path: Path | str, split: Split) -> Path:
    """Write a split as JSON; the file appears whole or not at all.

    Raises:
        UserError: missing or unwritable folder.
    """
    values = {
        "dataset": split.dataset,
        "seed": split.seed,
        "parts": {part: list(names) for part, names in split.parts.items()},
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return Path(path)


def read_split(
    path: Path | str, dataset: Dataset, report: Callable[[str], None] | None = None
) -> Split:
    """Read a split and check that it fits a dataset.

    Cases of the dataset that are in no part are allowed, and not used.

    Args:
        path: of the JSON file.
        dataset: that it was made for.
        report: told of each case that the dataset does not have; the split then comes without
            them. None lets them raise an error.

    Raises:
        UserError: unreadable, made for another dataset, a case that the dataset does not have or
            that is there twice, an empty part, or a patient in two parts.
    """
    path = Path(path)
    try:
        values = json.loads(path.read_text("utf-8"))
        seed = values["seed"]
        split = Split(
            str(values["dataset"]),
            None if seed is None else int(seed),
            {str(part): tuple(map(str, names)) for part, names in values["parts"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"The split {path} cannot be read ({error}); write a new one with this dataset."
        ) from error
    if split.dataset != dataset.name:
        raise UserError(
            f"The split {path} was made for {split.dataset}, not for {dataset.name}; "
            "make one for this dataset."
        )
    known = {case.name for case in dataset.cases}
    gone = sorted({name for names in split.parts.values() for name in names} - known)
    for name in gone:
        sentence = f"The split {path} names the case {name}, which {dataset.name} does not have"
        if report is None:
            raise UserError(
                f"{sentence}; bring the case back, or delete the file and begin anew with "
                "another split."
            )
        report(f"{sentence}; it is left out.")
    split = split.without(gone)
    _check(split, dataset, f"The split {path}")
    return split


def _check(split: Split, dataset: Dataset, title: str) -> None:
    if not split.parts:
        raise UserError(f"{title} has no parts; make a new one.")
    patients: dict[str, str] = {}
    counts = Counter(name for names in split.parts.values() for name in names)
    repeated = sorted(name for name, count in counts.items() if count > 1)
    if repeated:
        raise UserError(f"{title} names the case {repeated[0]} twice; make a new one.")
    for part in split.parts:
        cases = split.cases(dataset, part)
        if not cases:
            raise UserError(f"{title} has no case in '{part}'; make a new one.")
        for case in cases:
            if patients.setdefault(case.patient, part) != part:
                raise UserError(
                    f"{title} has patient {case.patient} in '{patients[case.patient]}' and in "
                    f"'{part}'; make a new one, or none of its figures would mean anything."
                )
