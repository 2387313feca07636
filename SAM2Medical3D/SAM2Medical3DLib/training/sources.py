"""Where training clips are cut from: synthetic volumes, or a user's labelled cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from scipy.ndimage import find_objects

from ..errors import UserError
from .clip_geometry import SMALLEST_AREA
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
_MOST_CLASSES = 255  # labels of a source are bytes
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
        title: what to call it in a message.
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
    title: str = "a synthetic volume"

    @classmethod
    def of(
        cls, image: np.ndarray, labels: np.ndarray, parents: tuple[int, ...], **others: Any
    ) -> Source:
        """With targets and boxes found."""
        counts = np.bincount(labels.ravel(), minlength=len(parents))
        targets = tuple(i for i in range(1, len(counts)) if counts[i] >= SMALLEST_VOXELS)
        boxes = (None, *find_objects(labels))
        return cls(image, labels, parents, targets, _odds(counts, targets), boxes, **others)

    def for_clips_of(self, length: int) -> Source:
        """With those targets only that a clip of so many slices can begin on."""
        targets = tuple(t for t in self.targets if self._has_room(t, length))
        counts = np.bincount(self.labels.ravel(), minlength=len(self.parents))
        return replace(self, targets=targets, odds=_odds(counts, targets))

    def _has_room(self, target: int, length: int) -> bool:
        box = self.boxes[target]
        shown = self.labels[box] == target
        for axis, chance in enumerate(self.axes):
            others = tuple(a for a in range(3) if a != axis)
            starts = box[axis].start + np.flatnonzero(shown.sum(others) >= SMALLEST_AREA)
            if chance and len(starts):
                reach = max(starts[-1], self.labels.shape[axis] - 1 - starts[0])
                if reach >= length - 1:
                    return True
        return False

    def family(self, label: int) -> list[int]:
        """The label and everything nested in it."""
        members = [label]
        for child, parent in enumerate(self.parents):
            if child and parent in members and child not in members:
                members.append(child)
        return members


def _odds(counts: np.ndarray, targets: Sequence[int]) -> tuple[float, ...]:
    diameters = np.cbrt(counts[list(targets)])
    return tuple(diameters / diameters.sum())


class Sources(Protocol):
    """Makes sources; the same arguments give the same source.

    Attributes:
        names: of what it takes in turn; empty where sources never end.
    """

    @property
    def names(self) -> tuple[str, ...]: ...

    def __call__(self, seed: np.random.SeedSequence, length: int = 1, number: int = 0) -> Source:
        """The ``number``-th source of a run, for clips of ``length`` slices."""


@dataclass(frozen=True)
class SyntheticSources:
    """Endless synthetic volumes of ``shape`` voxels, a share of them from ``atlas``."""

    shape: Shape = SHAPE
    atlas: Atlas | None = None
    share: float = 0.0
    names: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def of(cls, share: float) -> SyntheticSources:
        """With this share of volumes from the abdominal atlas, which is downloaded if need be."""
        if not share:
            return cls()
        from .synthesis.atlas import load_atlas

        return cls(SHAPE, load_atlas(), share)

    def __call__(self, seed: np.random.SeedSequence, length: int = 1, number: int = 0) -> Source:
        """The first volume with a target, of the few seeds that follow from ``seed``."""
        for number in seed.generate_state(8):
            made = synthesise_volume(int(number), self.shape, self.atlas, self.share)
            source = Source.of(made.image, made.labels, made.parents)
            if source.targets:
                return source
        raise RuntimeError(f"Volumes of {self.shape} are too small for any target.")


@dataclass(frozen=True)
class CaseSources:
    """Labelled cases of a dataset in turn, each time round in another random order.

    Args:
        cases: of the training or validation split.
        values: label values to learn; everything else is background.
        channel: of cases with several modalities.
        skip_bad: go on with another case where one cannot be used, or raise its ``CaseError``.
        seed: of the order.
        report: called with the sentence about a skipped case, once.

    Raises:
        UserError: if there is no case, or there are more values than a source can hold.
    """

    cases: tuple[CaseFiles, ...]
    values: tuple[int, ...]
    channel: int = 0
    skip_bad: bool = False
    seed: int = 0
    report: Callable[[str], None] = print
    _bad: set[str] = field(default_factory=set, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.cases:
            raise UserError("The training split is empty; label more cases or change the split.")
        if len(self.values) > _MOST_CLASSES:
            raise UserError(
                f"There are {len(self.values)} classes, and {_MOST_CLASSES} can be learned at "
                "once; choose some of them with --labels."
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Of the cases."""
        return tuple(case.name for case in self.cases)

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        cases: Sequence[CaseFiles],
        *,
        channel: int = 0,
        skip_bad: bool = False,
        seed: int = 0,
    ) -> CaseSources:
        """Of some cases of a dataset, with all of its (selected) classes."""
        return cls(tuple(cases), tuple(sorted(dataset.classes.values())), channel, skip_bad, seed)

    def __call__(self, seed: np.random.SeedSequence, length: int = 1, number: int = 0) -> Source:
        count = len(self.cases)
        turn, place = divmod(number, count)
        order = np.random.default_rng([self.seed, turn]).permutation(count)
        for index in np.roll(order, -place):
            case = self.cases[index]
            if case.name in self._bad:
                continue
            try:
                return self._load(case, length)
            except UserError as error:
                if not self.skip_bad:
                    raise
                self._bad.add(case.name)
                self.report(f"skipped: {error}")
        raise UserError("None of the cases of this split can be used; see the messages above.")

    def _load(self, case: CaseFiles, length: int) -> Source:
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
            title=f"case {case.name} ({case.labels})",
        )
        if not source.targets:
            raise UserError(
                f"{case.name}: no label of {list(self.values)} has {SMALLEST_VOXELS} voxels in "
                f"'{case.labels}'; leave the case out or choose other labels."
            )
        source = source.for_clips_of(length)
        if not source.targets:
            size = "x".join(str(n) for n in reversed(labels.shape))
            raise UserError(
                f"{case.name}: no clip of {length} slices can be cut from '{case.labels}' ({size} "
                f"voxels) that begins where a label has {SMALLEST_AREA} pixels; leave the case "
                "out, or give the recipe's stages a smaller length."
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
