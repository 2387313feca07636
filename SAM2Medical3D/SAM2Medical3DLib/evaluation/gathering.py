"""From the folders that a user names to the cases that are evaluated."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..datasets import Dataset, open_dataset, read_split
from ..errors import UserError
from .cases import DEVELOPMENT, development_cases
from .synthetic import PHANTOM, phantom_cases
from .tasks import CaseTask

FOREGROUND = "foreground"


@dataclass(frozen=True)
class Cohort:
    """All cases of an evaluation, and what was wrong before the first was read.

    Attributes:
        cases: in the order of the report.
        problems: a sentence for each case that cannot be used.
        notes: sentences that the report must carry.
    """

    cases: tuple[CaseTask, ...]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Selection:
    """Which part of the folders is evaluated.

    Attributes:
        labels: names or values of classes; ``NAME=VALUE`` names a value of a layout that has no
            names; empty takes all.
        merge: take the classes together as one object, as Shen et al. 2024 do.
        layout, channel: see ``open_dataset`` and ``CaseFiles.load``.
        split, part: a split file and the part of it to take.
        limit: only the first cases of each dataset.
        only: patterns of case names, such as ``case_0*``.
    """

    labels: tuple[str, ...] = ()
    merge: bool = False
    layout: str = "auto"
    channel: int = 0
    split: Path | None = None
    part: str = "validation"
    limit: int | None = None
    only: tuple[str, ...] = ()


def gather(names: Sequence[str], selection: Selection) -> Cohort:
    """The cases of folders, or of the sets ``phantom[:COUNT]`` and ``development:FOLDER``.

    Raises:
        UserError: no such folder, layout, label or split; nothing to evaluate.
    """
    cases: list[CaseTask] = []
    problems: list[str] = []
    notes: list[str] = []
    for name in names:
        kind, _, rest = name.partition(":")
        if kind == PHANTOM and not Path(name).is_dir():
            found = tuple(_selected(phantom_cases(_count(rest)), selection.labels))
        elif kind == DEVELOPMENT:
            found = tuple(_selected(development_cases(Path(rest)), selection.labels))
        else:
            dataset = _open(Path(name), selection)
            problems += dataset.problems
            notes += dataset.notes
            if selection.split is None:
                notes.append(
                    f"{dataset.name}: no split was given, so all its cases are evaluated; a model "
                    "trained on some of them would be flattered."
                )
                files = dataset.cases
            else:
                files = read_split(selection.split, dataset).cases(dataset, selection.part)
            objects = tuple((title, (value,)) for title, value in dataset.classes.items())
            found = tuple(CaseTask(dataset.name, f, objects, selection.channel) for f in files)
        cases += _limited(found, selection)
    if selection.merge:
        cases = [replace(case, objects=_merged(case.objects)) for case in cases]
    repeated = [c for c, n in Counter((c.dataset, c.case) for c in cases).items() if n > 1]
    if repeated:
        raise UserError(
            f"The case {repeated[0][1]} of {repeated[0][0]} is there twice; rename one of the "
            "folders, or give it once."
        )
    if not cases:
        raise UserError(f"There is nothing to evaluate in {', '.join(names)}.")
    return Cohort(tuple(cases), tuple(problems), tuple(notes))


def _open(folder: Path, selection: Selection) -> Dataset:
    named = dict(label.rsplit("=", 1) for label in selection.labels if "=" in label)
    if not all(value.isdigit() and int(value) > 0 for value in named.values()):
        raise UserError("A label is given as NAME=VALUE with a whole number above 0.")
    classes = {name: int(value) for name, value in named.items()} or None
    dataset = open_dataset(folder, selection.layout, classes=classes)
    wanted = [label.rsplit("=", 1)[0] for label in selection.labels]
    return dataset.select(wanted or None)


def _selected(cases: Sequence[CaseTask], labels: tuple[str, ...]) -> Iterator[CaseTask]:
    """The cases of a set of our own with the labels that they have."""
    wanted = {label.lower() for label in labels}
    known = {name for case in cases for name, _ in case.objects}
    if wanted and not wanted & {name.lower() for name in known}:
        raise UserError(f"{cases[0].dataset} has no such label; it has {', '.join(sorted(known))}.")
    for case in cases:
        objects = tuple(o for o in case.objects if not wanted or o[0].lower() in wanted)
        if objects:
            yield replace(case, objects=objects)


def _limited(cases: tuple[CaseTask, ...], selection: Selection) -> tuple[CaseTask, ...]:
    if selection.only:
        cases = tuple(
            c for c in cases if any(fnmatch.fnmatch(c.case, pattern) for pattern in selection.only)
        )
    return cases[: selection.limit]


def _merged(
    objects: tuple[tuple[str, tuple[int, ...]], ...],
) -> tuple[tuple[str, tuple[int, ...]], ...]:
    values = [value for _, parts in objects for value in parts]
    everything = any(not parts for _, parts in objects)
    return ((FOREGROUND, () if everything else tuple(sorted(values))),)


def _count(text: str) -> int:
    if not text:
        return 2
    if not text.isdigit() or not 1 <= int(text) <= 100:
        raise UserError(f"'{PHANTOM}:{text}' needs a number of phantoms from 1 to 100.")
    return int(text)
