"""Voxel grids of every orientation, for tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from SAM2Medical3DLib.geometry import Grid


def make_grid(
    shape_kji: Sequence[int],
    order: Sequence[int] = (0, 1, 2),
    signs: Sequence[int] = (-1, -1, 1),
    spacing: Sequence[float] = (0.8, 0.9, 3.0),
    turn: Sequence[float] = (0.0, 0.0, 0.0),
    origin: Sequence[float] = (11.0, -23.0, 40.5),
) -> Grid:
    """A grid whose I, J, K run along the RAS axes ``order`` with ``signs``, turned by degrees."""
    axes = np.eye(3)[:, list(order)] * signs
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", turn, degrees=True).as_matrix() @ axes * spacing
    matrix[:3, 3] = origin
    return Grid(tuple(shape_kji[::-1]), matrix)


def grids(largest_turn: float = 40.0) -> st.SearchStrategy[Grid]:
    """Any axis permutation, flips, obliqueness, anisotropic spacing and non-cubic size."""
    return st.builds(
        make_grid,
        st.tuples(*[st.integers(2, 7)] * 3),
        st.permutations(range(3)),
        st.tuples(*[st.sampled_from((-1, 1))] * 3),
        st.tuples(*[st.floats(0.2, 8.0)] * 3),
        st.tuples(*[st.floats(-largest_turn, largest_turn)] * 3),
        st.tuples(*[st.floats(-300, 300)] * 3),
    )


def restored(array: np.ndarray, grid: Grid, order: Sequence[int], signs: Sequence[int]) -> tuple:
    """The same image stored in another way.

    Args:
        array: (K, J, I).
        order: the old axis (I, J, K are 0, 1, 2) that becomes each new axis.
        signs: -1 flips the new axis.

    Returns:
        The new (K, J, I) array and its grid.
    """
    new = array.transpose([2 - order[axis] for axis in (2, 1, 0)])
    new = new[tuple(slice(None, None, signs[axis]) for axis in (2, 1, 0))]
    old_from_new = np.zeros((4, 4))
    old_from_new[3, 3] = 1
    for axis in range(3):
        old_from_new[order[axis], axis] = signs[axis]
        if signs[axis] < 0:
            old_from_new[order[axis], 3] = grid.size[order[axis]] - 1
    return new, Grid(new.shape[::-1], grid.ijk_to_ras @ old_from_new)
