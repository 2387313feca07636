"""A labelled dataset on disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from ..errors import UserError
from .case import CaseFiles


@dataclass(frozen=True)
class Dataset:
    """Labelled cases and what their labels mean.

    Attributes:
        name: the folder's name, as "Task09_Spleen".
        layout: "msd", "nnunet", "amos22", "brats2020", "pairs", "folders" or "npz".
        classes: label value by name, in the order of the values; the background, 0, is never in it.
            A layout that names none calls the values in its files "label 1" and so on.
        channels: names of the images of every case.
        cases: the labelled cases that can be trained on, sorted by name.
        problems: one sentence, with its path, for each case that is left out of ``cases`` because
            a file is missing or the dataset's description is wrong.
        notes: sentences that the user should see and that cost no case.
        published: names of the cases in the parts that the authors publish; empty if they do not.
    """

    name: str
    layout: str
    classes: Mapping[str, int]
    channels: tuple[str, ...]
    cases: tuple[CaseFiles, ...]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    published: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Copies: nobody else can change them. (A read-only view could not go to other processes.)
        object.__setattr__(self, "classes", dict(self.classes))
        object.__setattr__(self, "published", dict(self.published))

    def select(self, labels: Iterable[str] | None, modality: str | None = None) -> Dataset:
        """The same dataset with only these classes, and only cases of one modality.

        Args:
            labels: class names (in any case) or values as text; None keeps all.
            modality: "CT" or "MR"; None keeps all.

        Raises:
            UserError: no such class, or no case of this modality; it lists what there is.
        """
        classes = dict(self.classes)
        if labels is not None:
            chosen = {self._class_of(text) for text in labels}
            if not chosen:
                raise UserError(f"No label of {self.name} is chosen; it has {self._listed()}.")
            classes = {name: value for name, value in classes.items() if name in chosen}
        cases = self.cases
        if modality is not None:
            cases = tuple(c for c in cases if c.modality.lower() == modality.lower())
            if not cases:
                known = ", ".join(sorted({c.modality for c in self.cases} - {""})) or "unknown"
                raise UserError(
                    f"{self.name} has no labelled case of modality '{modality}'; there is: {known}."
                )
        kept = {case.name for case in cases}
        published = {
            part: tuple(name for name in names if name in kept)
            for part, names in self.published.items()
        }
        return replace(self, classes=classes, cases=cases, published=published)

    def _class_of(self, text: str) -> str:
        wanted = str(text).strip().lower()
        for name, value in self.classes.items():
            if wanted in (name.lower(), str(value)):
                return name
        raise UserError(f"{self.name} has no label '{text}'; it has {self._listed()}.")

    def _listed(self) -> str:
        return ", ".join(f"{name} ({value})" for name, value in self.classes.items())
