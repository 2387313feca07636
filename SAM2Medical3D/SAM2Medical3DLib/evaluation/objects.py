"""What is evaluated: one object of one volume."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ..errors import UserError
from ..geometry import Grid, StackGeometry
from ..volume import IntensityMapping, SliceStack, Volume


class Skipped(UserError):
    """The object cannot be evaluated by this protocol, and nobody is to blame."""


@dataclass(frozen=True, eq=False)
class ObjectCase:
    """One object on a stack of slices, or on the part of it that a protocol shows.

    Attributes:
        dataset, case, name: of the dataset, the volume and the object.
        stack: the slices.
        truth: (slice, row, column) bool.
        central: the slice that is prompted.
        first: number of slices below this part, in the whole stack.
        depth: slices of the whole stack.
    """

    dataset: str
    case: str
    name: str
    stack: SliceStack
    truth: np.ndarray
    central: int
    first: int = 0
    depth: int = field(default=0)

    def __post_init__(self) -> None:
        if not self.depth:
            object.__setattr__(self, "depth", len(self.stack))

    @classmethod
    def of(
        cls, dataset: str, case: str, name: str, stack: SliceStack, truth_kji: np.ndarray
    ) -> ObjectCase:
        """An object on all slices, prompted on the middle one of those that show it.

        Raises:
            Skipped: if the mask is empty.
        """
        truth = stack.geometry.to_stack(truth_kji)
        return cls(dataset, case, name, stack, truth, central_slice(truth, stack.geometry))

    @property
    def title(self) -> str:
        """Volume and object."""
        return f"{self.case}: {self.name}"

    @property
    def shown(self) -> np.ndarray:
        """Ascending numbers of the slices that show the object."""
        return np.flatnonzero(self.truth.any((1, 2)))

    def part(self, first: int, last: int, central: int) -> ObjectCase:
        """Slices ``first`` to ``last`` of this stack as a stack of their own.

        Args:
            central: the prompted slice, in this stack's numbers.

        Raises:
            Skipped: if that is a single slice, which is no volume.
        """
        if last - first < 1:
            raise Skipped(f"{self.title}: a single slice is left, which is no volume.")
        geometry = self.stack.geometry
        ends = geometry.ijk_from_stack([(first, 0, 0), (last, 0, 0)])[:, geometry.axis]
        low = int(ends.min())
        volume = _slab(self.stack.volume, geometry.axis, low, low + last - first + 1)
        stack = SliceStack(volume, self.stack.plane, self.stack.mapping)
        truth = self.truth[first : last + 1]
        return replace(
            self, stack=stack, truth=truth, central=central - first, first=self.first + first
        )

    def windowed(self, name: str) -> ObjectCase:
        """The same with another intensity window (see ``IntensityMapping.named``)."""
        mapping = IntensityMapping.named(name, self.stack.volume)
        return replace(self, stack=SliceStack(self.stack.volume, self.stack.plane, mapping))

    def on_all_slices(self, mask: np.ndarray) -> np.ndarray:
        """A mask of this part on the whole stack; slices that were not shown stay empty."""
        if len(mask) == self.depth:
            return mask
        whole = np.zeros((self.depth, *mask.shape[1:]), bool)
        whole[self.first : self.first + len(mask)] = mask
        return whole


def middle_of(slices: np.ndarray, geometry: StackGeometry) -> int:
    """The middle one of ascending slices; of an even number the later one in storage order."""
    upwards = geometry.ijk_from_stack_matrix[geometry.axis, 0] > 0
    return int((slices if upwards else slices[::-1])[len(slices) // 2])


def central_slice(truth: np.ndarray, geometry: StackGeometry) -> int:
    """The middle one of the slices with foreground of a (slice, row, column) mask."""
    shown = np.flatnonzero(truth.any((1, 2)))
    if shown.size == 0:
        raise Skipped("The object is on no slice.")
    return middle_of(shown, geometry)


def _slab(volume: Volume, axis: int, start: int, stop: int) -> Volume:
    """Voxels ``start`` to ``stop`` along I, J or K: a view, not a copy."""
    where = [slice(None)] * 3
    where[2 - axis] = slice(start, stop)
    corner = np.zeros(3)
    corner[axis] = start
    matrix = volume.grid.ijk_to_ras.copy()
    matrix[:3, 3] = volume.grid.ras_from_ijk(corner)
    array = volume.array[tuple(where)]
    return Volume(array, Grid(array.shape[::-1], matrix), volume.name, volume.window)
