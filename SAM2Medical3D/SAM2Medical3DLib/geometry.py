"""Where voxels are: the IJK grid of a volume, and slices of it as a person looks at them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import permutations

import numpy as np

from .errors import UserError


class Plane(StrEnum):
    """Anatomical slicing plane; the stack runs along the IJK axis closest to its normal."""

    AXIAL = "axial"
    CORONAL = "coronal"
    SAGITTAL = "sagittal"


# RAS directions of (stack index, image row, image column) in radiological display:
# the patient's right at the image's left, anterior or superior at the top.
_VIEW_DIRECTIONS = {
    Plane.AXIAL: ((0, 0, 1), (0, -1, 0), (-1, 0, 0)),
    Plane.CORONAL: ((0, 1, 0), (0, 0, -1), (-1, 0, 0)),
    Plane.SAGITTAL: ((1, 0, 0), (0, 0, -1), (0, -1, 0)),
}


@dataclass(frozen=True, eq=False)
class Grid:
    """A regular voxel grid in patient space.

    Args:
        size: number of voxels along I, J and K.
        ijk_to_ras: 4x4 affine from voxel indices (voxel centres at integers) to RAS millimetres.

    Raises:
        UserError: if the affine is not 4x4, finite and invertible.
    """

    size: tuple[int, int, int]
    ijk_to_ras: np.ndarray

    def __post_init__(self) -> None:
        matrix = np.array(self.ijk_to_ras, dtype=float)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise UserError("The volume's orientation matrix must be 4x4 and finite.")
        if abs(np.linalg.det(matrix[:3, :3])) < 1e-12:
            raise UserError("The volume has a zero spacing or parallel axes; repair its header.")
        matrix.setflags(write=False)
        object.__setattr__(self, "ijk_to_ras", matrix)
        object.__setattr__(self, "size", tuple(int(n) for n in self.size))

    @cached_property
    def ras_to_ijk(self) -> np.ndarray:
        """4x4 inverse of ``ijk_to_ras``."""
        return np.linalg.inv(self.ijk_to_ras)

    @cached_property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel spacing along I, J and K in millimetres."""
        return tuple(float(s) for s in np.linalg.norm(self.ijk_to_ras[:3, :3], axis=0))

    def ras_from_ijk(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) voxel indices to RAS millimetres."""
        return np.asarray(points, float) @ self.ijk_to_ras[:3, :3].T + self.ijk_to_ras[:3, 3]

    def ijk_from_ras(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) RAS millimetres to continuous voxel indices."""
        return np.asarray(points, float) @ self.ras_to_ijk[:3, :3].T + self.ras_to_ijk[:3, 3]

    def contains(self, ijk: np.ndarray) -> bool:
        """Whether a continuous index lies in some voxel (voxels reach half a step around it)."""
        ijk = np.asarray(ijk, float)
        return bool((ijk >= -0.5).all() and (ijk < np.array(self.size) - 0.5).all())

    def matches(self, other: Grid, tolerance_mm: float = 1e-2) -> bool:
        """Whether both grids have the same size and put every corner at the same place."""
        if self.size != other.size:
            return False
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.size])).reshape(3, -1).T
        gap = self.ras_from_ijk(corners) - other.ras_from_ijk(corners)
        return bool(np.abs(gap).max() <= tolerance_mm)

    @cached_property
    def anatomical_axes(self) -> tuple[tuple[int, int], ...]:
        """For R, A and S: the IJK axis that runs closest to it and the sign (+1 or -1)."""
        cosines = self.ijk_to_ras[:3, :3] / np.array(self.spacing)
        best = max(
            permutations(range(3)), key=lambda axes: sum(abs(cosines[r, axes[r]]) for r in range(3))
        )
        return tuple((axis, 1 if cosines[ras, axis] >= 0 else -1) for ras, axis in enumerate(best))

    def axis_of(self, plane: Plane) -> int:
        """The IJK axis that slices of this plane are stacked along."""
        normal = int(np.argmax(np.abs(_VIEW_DIRECTIONS[Plane(plane)][0])))
        return self.anatomical_axes[normal][0]

    def plane_of(self, axis: int) -> Plane:
        """The anatomical plane whose slices are stacked along an IJK axis."""
        return next(plane for plane in Plane if self.axis_of(plane) == axis)

    def thickest_plane(self) -> Plane:
        """The plane whose slices are thickest; axial when no spacing stands out by 10 %."""
        spacing = np.array(self.spacing)
        thickest = int(np.argmax(spacing))
        others = np.delete(spacing, thickest)
        if spacing[thickest] > 1.1 * others.max():
            return self.plane_of(thickest)
        return Plane.AXIAL


@dataclass(frozen=True, eq=False)
class StackGeometry:
    """Slices of a grid along one plane, in radiological display orientation.

    Stack coordinates are (slice, row, column). Slices run from inferior to superior, posterior to
    anterior, or left to right of the *RAS* axis; rows run downwards and columns rightwards as shown
    on a screen. Storage order and flips of the volume therefore never change what a model sees.
    """

    grid: Grid
    plane: Plane

    @cached_property
    def _axes(self) -> tuple[tuple[int, int], ...]:
        """For slice, row and column: (IJK axis, sign)."""
        found = []
        for direction in _VIEW_DIRECTIONS[Plane(self.plane)]:
            ras = int(np.argmax(np.abs(direction)))
            axis, sign = self.grid.anatomical_axes[ras]
            found.append((axis, sign * int(direction[ras])))
        return tuple(found)

    @property
    def axis(self) -> int:
        """The IJK axis the slices are stacked along."""
        return self._axes[0][0]

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """Number of slices, rows and columns."""
        return tuple(self.grid.size[axis] for axis, _ in self._axes)

    @cached_property
    def spacing(self) -> tuple[float, float, float]:
        """Spacing between slices, rows and columns in millimetres."""
        return tuple(self.grid.spacing[axis] for axis, _ in self._axes)

    @cached_property
    def ijk_from_stack_matrix(self) -> np.ndarray:
        """4x4 signed permutation from (slice, row, column, 1) to (I, J, K, 1)."""
        matrix = np.zeros((4, 4))
        matrix[3, 3] = 1
        for stack_axis, (ijk_axis, sign) in enumerate(self._axes):
            matrix[ijk_axis, stack_axis] = sign
            if sign < 0:
                matrix[ijk_axis, 3] = self.grid.size[ijk_axis] - 1
        return matrix

    def ijk_from_stack(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) stack coordinates to voxel indices."""
        matrix = self.ijk_from_stack_matrix
        return np.asarray(points, float) @ matrix[:3, :3].T + matrix[:3, 3]

    def stack_from_ijk(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) voxel indices to stack coordinates."""
        matrix = self.ijk_from_stack_matrix
        # The inverse of a signed permutation is its transpose: exact, no rounding.
        return (np.asarray(points, float) - matrix[:3, 3]) @ matrix[:3, :3]

    def to_stack(self, array_kji: np.ndarray) -> np.ndarray:
        """A (K, J, I) array as a (slice, row, column) view of the same memory."""
        view = array_kji.transpose([2 - axis for axis, _ in self._axes])
        return view[tuple(slice(None, None, sign) for _, sign in self._axes)]

    def from_stack(self, array: np.ndarray) -> np.ndarray:
        """A (slice, row, column) array as a (K, J, I) view of the same memory."""
        view = array[tuple(slice(None, None, sign) for _, sign in self._axes)]
        order = [axis for axis, _ in self._axes]
        return view.transpose([order.index(axis) for axis in (2, 1, 0)])
