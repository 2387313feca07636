"""Where training clips are cut from: synthetic volumes, or a user's labelled cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from scipy.ndimage import find_objects

from ..errors import UserError
from .synthesis import SHAPE, synthesise_volume
from .synthesis.shapes import Shape

if TYPE_CHECKING:
    from ..datasets import CaseFiles, Dataset
    from .synthesis.atlas import Atlas

SMALLEST_VOXELS = 100
_THIN_SLABS = (0.3, 0.25, 0.2, 0.12, 0.08, 0.05)
_THIN_MM = 1.5  # slabs of several slices imitate thicker slices only where slices are thin
# Synthetic volumes have no scanner; a trunk of 192 voxels is about as wide as this makes it.
SYNTHETIC_SPACING = (1.5, 1.5, 1.5)
_SQUARE = 1.25  # largest ratio of the pixel's sides in a plane that clips are cut from


@dataclass(frozen=True)
class Source:
    """A volume to cut clips from.

    Attributes:
        image: (Z, Y, X) float in [0, 1].
        labels: (Z, Y, X) uint8, 0 background and 1..N.
        parents: of length N + 1, the label that a label is nested in, 0 for none.
        targets: labels worth showing.
        odds: probability of each target: as its diameter, so that an atlas's many small muscles and
            vessels do not crowd out its organs.
        boxes: bounding box of each label, None where there is none.
        axes: probability of cutting slices across each axis.
        slabs: probability of averaging 1, 2, 3... slices into one.
        spacing: millimetres between voxels along Z, Y, X.
    """

    image: np.ndarray
    labels: np.ndarray
    parents: tuple[int, ...]
    targets: tuple[int, ...]
    odds: tuple[float, ...]
    boxes: tuple[tuple[slice, slice, slice] | None, ...]
    axes: tuple[float, float, float] = (0.7, 0.15, 0.15)
    slabs: tuple[float, ...] = _THIN_SLABS
    spacing: tuple[float, float, float] = SYNTHETIC_SPACING

    @classmethod
    def of(
        cls, image: np.ndarray, labels: np.ndarray, parents: tuple[int, ...], **others: tuple
    ) -> Source:
        """With targets and boxes found."""
        counts = np.bincount(labels.ravel(), minlength=len(parents))
        targets = tuple(i for i in range(1, len(counts)) if counts[i] >= SMALLEST_VOXELS)
        diameters = np.cbrt(counts[list(targets)])
        odds = tuple(diameters / diameters.sum())
        return cls(image, labels, parents, targets, odds, (None, *find_objects(labels)), **others)

    def family(self, label: int) -> list[int]:
        """The label and everything nested in it."""
        members = [label]
        for child, parent in enumerate(self.parents):
            if child and parent in members and child not in members:
                members.append(child)
        return members


class Sources(Protocol):
    """Makes a source from a seed; the same seed gives the same source."""

    def __call__(self, seed: np.random.SeedSequence) -> Source: ...


@dataclass(frozen=True)
class SyntheticSources:
    """Endless synthetic volumes of ``shape`` voxels, a share of them from ``atlas``."""

    shape: Shape = SHAPE
    atlas: Atlas | None = None
    share: float = 0.0

    @classmethod
    def of(cls, share: float) -> SyntheticSources:
        """With this share of volumes from the abdominal atlas, which is downloaded if need be."""
        if not share:
            return cls()
        from .synthesis.atlas import load_atlas

        return cls(SHAPE, load_atlas(), share)

    def __call__(self, seed: np.random.SeedSequence) -> Source:
        """The first volume with a target, of the few seeds that follow from ``seed``."""
        for number in seed.generate_state(8):
            made = synthesise_volume(int(number), self.shape, self.atlas, self.share)
            source = Source.of(made.image, made.labels, made.parents)
            if source.targets:
                return source
        raise RuntimeError(f"Volumes of {self.shape} are too small for any target.")


@dataclass(frozen=True)
class CaseSources:
    """Labelled cases of a dataset, one drawn at random for each seed.

    Args:
        cases: of the training or validation split.
        values: label values to learn; everything else is background.
        channel: of cases with several modalities.
        skip_bad: go on with another case where one cannot be used, or raise its ``CaseError``.
        report: called with the sentence about a skipped case.

    Raises:
        UserError: if there is no case.
    """

    cases: tuple[CaseFiles, ...]
    values: tuple[int, ...]
    channel: int = 0
    skip_bad: bool = False
    report: Callable[[str], None] = print

    def __post_init__(self) -> None:
        if not self.cases:
            raise UserError("The training split is empty; label more cases or change the split.")

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        cases: Sequence[CaseFiles],
        *,
        channel: int = 0,
        skip_bad: bool = False,
    ) -> CaseSources:
        """Of some cases of a dataset, with all of its (selected) classes."""
        return cls(tuple(cases), tuple(sorted(dataset.classes.values())), channel, skip_bad)

    def __call__(self, seed: np.random.SeedSequence) -> Source:
        order = np.random.default_rng(seed).permutation(len(self.cases))
        for number in order:
            try:
                return self._load(self.cases[number])
            except UserError as error:
                if not self.skip_bad:
                    raise
                self.report(str(error))
        raise UserError("None of the cases of this split can be used; see the messages above.")

    def _load(self, case: CaseFiles) -> Source:
        from ..volume import IntensityMapping

        loaded = case.load(self.channel)
        labels = np.zeros(loaded.labels.shape, np.uint8)
        for number, value in enumerate(self.values, start=1):
            labels[loaded.labels == value] = number
        parents = (0,) * (len(self.values) + 1)
        spacing = np.array(loaded.volume.grid.spacing)[::-1]  # of Z, Y, X
        mapping = IntensityMapping.automatic(loaded.volume)
        image = (mapping(loaded.volume.array) / np.float16(255)).astype(np.float16)
        thin = bool(spacing.max() < _THIN_MM)
        source = Source.of(
            image,
            labels,
            parents,
            axes=_axes(spacing),
            slabs=_THIN_SLABS if thin else (1.0,),
            spacing=tuple(float(mm) for mm in spacing),
        )
        if not source.targets:
            raise UserError(
                f"{case.name}: no label of {list(self.values)} has {SMALLEST_VOXELS} voxels in "
                f"'{case.labels}'; leave the case out or choose other labels."
            )
        return source


def _axes(spacing: np.ndarray) -> tuple[float, float, float]:
    """How often to cut across each axis: only where pixels are about square, mostly across the
    thickest slices."""
    chances = []
    for axis in range(3):
        a, b = np.delete(spacing, axis)
        square = max(a, b) / min(a, b) <= _SQUARE
        chances.append((0.7 if axis == int(spacing.argmax()) else 0.15) * square)
    if not any(chances):
        chances[int(spacing.argmax())] = 1.0
    whole = sum(chances)
    return tuple(chance / whole for chance in chances)
