"""A label map under construction: regions painted in order, later ones over earlier ones."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .shapes import Region, Shape

AIR = 0
MAX_IDS = 250


@dataclass(frozen=True)
class Tissue:
    """What a region is made of.

    `kind` names a row of the intensity tables, `around` is the tissue id most of its border
    touches, `host` the tissue that its mean is drawn relative to (or None), `labelled` whether
    a target consists of it, which then must be visible.
    """

    kind: str
    around: int
    host: int | None
    labelled: bool


@dataclass
class Canvas:
    """Labels (targets) and tissues (materials) of one volume, both uint8 (Z, Y, X).

    A label may consist of several tissues (the wall and lumen of a stomach), and a tissue need
    not belong to any label (fat, small vessels). Label 0 is background, tissue 0 is air. `parents`
    and `painted` have an entry for each label: what it is nested in, the voxels it was given.
    `body` and, within it, `cavity`, bool (Z, Y, X), are where painting is allowed.
    """

    shape: Shape
    labels: np.ndarray = field(init=False)
    tissues: np.ndarray = field(init=False)
    body: np.ndarray = field(init=False)
    cavity: np.ndarray = field(init=False)
    table: list[Tissue] = field(default_factory=lambda: [Tissue("air", AIR, None, False)])
    parents: list[int] = field(default_factory=lambda: [0])
    painted: list[int] = field(default_factory=lambda: [0])

    def __post_init__(self) -> None:
        self.labels = np.zeros(self.shape, np.uint8)
        self.tissues = np.zeros(self.shape, np.uint8)
        self.body = np.ones(self.shape, bool)
        self.cavity = self.body

    @property
    def full(self) -> bool:
        """True when no more ids are left."""
        return len(self.table) >= MAX_IDS or len(self.parents) >= MAX_IDS

    def new_label(self, parent: int = 0) -> int:
        """A fresh label; `parent` is the label it is nested in, 0 for none."""
        self.parents.append(parent)
        self.painted.append(0)
        return len(self.parents) - 1

    def paint(
        self,
        region: Region | None,
        kind: str,
        *,
        label: int | None = None,
        inside: int | None = None,
        offset: float = 0.0,
        anywhere: bool = False,
        host: int | None = None,
        tissue: int | None = None,
    ) -> int | None:
        """Paints `region` shrunk by `offset` voxels; returns its tissue id, None if nothing.

        `label` None keeps the labels below. `inside` restricts to voxels of that label, `anywhere`
        allows the body wall. `tissue` reuses an id, for one material in several pieces.
        """
        if region is None or self.full:
            return None
        mask = region.phi > offset
        mask &= (self.body if anywhere else self.cavity)[region.box]
        if inside is not None:
            mask &= self.labels[region.box] == inside
        if not mask.any():
            return None
        below = self.tissues[region.box]
        if tissue is None:
            ring = (region.phi > offset - 4) & ~mask
            counts = np.bincount(below[ring].ravel(), minlength=1)
            around = int(counts.argmax()) if counts.sum() else AIR
            tissue = len(self.table)
            self.table.append(Tissue(kind, around, host, label is not None))
        below[mask] = tissue
        if label is not None:
            over = self.labels[region.box]
            self.painted[label] += int(np.count_nonzero(mask & (over != label)))
            over[mask] = label
        return tissue
