"""What other segments lose where a segment covers them, until it no longer does."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

import numpy as np
import slicer

from .sections import Loss, VoxelWrite, section_of
from .stack_labels import StackLabels, joined, pick, window_of


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Other segments that share one image.

    Args:
        labels: the image.
        values: {id: label value} of these segments.
        staying: ids of all segments that the image is for, these and others.
        leaving: label value of voxels that are about to become background, 0 if there are none.
    """

    labels: StackLabels
    values: Mapping[str, int]
    staying: Collection[str]
    leaving: int = 0

    def without(self, labelmap: slicer.vtkOrientedImageData, value: int) -> Neighbours:
        """The same when the other segment in this image, of that label value, leaves it."""
        if labelmap is not self.labels.labelmap or self.labels.is_empty:
            return self
        return replace(self, staying=tuple(self.values), leaving=value)


@dataclass(frozen=True, eq=False)
class Exchange:
    """What changes hands on one slice.

    Attributes:
        index: the slice.
        writes: what other segments lose and get back.
        losses: {segment id: what it then still misses}.
        is_waiting: whether something no longer covered has to wait, as its segment is hidden or
            locked.
    """

    index: int
    writes: Sequence[VoxelWrite] = ()
    losses: Mapping[str, Loss] = field(default_factory=dict)
    is_waiting: bool = False


class TakenVoxels:
    """Remembers which voxels other segments lost, slice by slice.

    A segment gets a voxel back when it is no longer covered. While the segment is hidden or locked
    the voxel waits for a later write. It is forgotten when the segment is removed or stored on
    another lattice, or when the voxel is no longer background in the segment's image: then somebody
    else decided.
    """

    def __init__(self) -> None:
        self._losses: dict[int, Mapping[str, Loss]] = {}
        self._waiting: set[int] = set()

    @property
    def waiting(self) -> frozenset[int]:
        """Slices where something may have to be given back whatever is written."""
        return frozenset(self._waiting)

    def look_again(self, index: int) -> None:
        """Somebody else changed what covers a slice."""
        if self.has(index):
            self._waiting.add(index)

    def has(self, index: int) -> bool:
        """Whether something was taken on a slice."""
        return index in self._losses

    def plan(
        self,
        index: int,
        cover: np.ndarray,
        neighbours: Sequence[Neighbours],
        editable: Set[str],
        take: bool,
    ) -> Exchange:
        """What is to change hands on a slice; changes nothing.

        Args:
            index: the slice.
            cover: (H, W) bool, the pixels that the others may not have.
            neighbours: the other segments as they are.
            editable: those that may be written to.
            take: whether covered voxels are taken; otherwise voxels are only given back.
        """
        known = self._losses.get(index, {})
        window = joined(
            [window_of(cover) if take else None, *(loss.window for loss in known.values())]
        )
        losses: dict[str, Loss] = {}
        writes: list[VoxelWrite] = []
        is_waiting = False
        for group in neighbours if window is not None else ():
            victims = editable & group.values.keys() if take else set()
            losers = known.keys() & group.values.keys()
            if not (victims or losers) or (group.labels.is_empty and not group.labels.aligned):
                continue
            section = section_of(group.labels, index, window, [known[id_] for id_ in losers])
            covered = section.of(cover)
            background = (section.labels == 0) | (section.labels == group.leaving)
            for id_ in victims | losers:
                missing = np.zeros(covered.shape, bool)
                if id_ in losers:
                    missing = section.recall(known[id_]) & background
                back = missing & ~covered
                if back.any():
                    if id_ in editable:
                        writes.append(section.write(back, group.values[id_], id_))
                        missing &= covered
                    else:
                        is_waiting = True
                if id_ in victims:
                    taken = covered & (section.labels == group.values[id_])
                    if taken.any():
                        writes.append(section.write(taken, 0, id_))
                        missing |= taken
                if missing.any():
                    losses[id_] = section.loss(missing)
        return Exchange(index, writes, losses, is_waiting)

    def commit(self, exchange: Exchange) -> None:
        """Remember an exchange that has been carried out."""
        self._losses.pop(exchange.index, None)
        self._waiting.discard(exchange.index)
        if exchange.losses:
            self._losses[exchange.index] = exchange.losses
        if exchange.is_waiting:
            self._waiting.add(exchange.index)


def occupied(
    neighbours: Sequence[Neighbours], index: int, mask: np.ndarray, *, touching: bool = False
) -> np.ndarray:
    """The pixels of a mask that other segments have, hidden ones too.

    Args:
        neighbours: the other segments.
        index: the slice.
        mask: (H, W) bool.
        touching: on another lattice, count pixels too in which a voxel's centre lies.

    Returns:
        (H, W) bool.
    """
    found = np.zeros(mask.shape, bool)
    window = window_of(mask)
    if window is None:
        return found
    for group in neighbours:
        values = list(group.values.values())
        found[window] |= np.isin(group.labels.section(index, *window), values)
        if touching and not group.labels.aligned:
            ijk = group.labels.near(index, window, group.labels.bounds)
            ijk = ijk[np.isin(group.labels.labels_at(ijk), values)]
            stack = group.labels.stack_of(ijk)
            stack = stack[(stack[:, 0] == index) & pick(mask, stack)]
            found[stack[:, 1], stack[:, 2]] = True
    return found & mask
