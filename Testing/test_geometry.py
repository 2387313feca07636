"""Slices of a grid: the same voxels and the same place in space through every view."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grids import grids, make_grid, restored
from SAM2Medical3DLib.errors import UserError
from SAM2Medical3DLib.geometry import Grid, Plane, StackGeometry
from SAM2Medical3DLib.volume import IntensityMapping, SliceStack, Volume

planes = st.sampled_from(list(Plane))
orders = st.permutations(range(3))
flips = st.tuples(*[st.sampled_from((-1, 1))] * 3)
seeds = st.integers(0, 2**32 - 1)
thorough = settings(max_examples=150, deadline=None)


def random_mask(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(shape) < 0.3


@thorough
@given(grids(), planes, seeds)
def test_mask_put_in_through_a_view_comes_back(grid: Grid, plane: Plane, seed: int) -> None:
    geometry = StackGeometry(grid, plane)
    mask = random_mask(geometry.shape, seed)
    voxels = np.zeros(grid.size[::-1], bool)
    geometry.to_stack(voxels)[:] = mask
    assert (geometry.from_stack(mask) == voxels).all()
    assert (geometry.to_stack(voxels) == mask).all()
    # The same voxels, by index arithmetic instead of views.
    expected = np.zeros_like(voxels)
    i, j, k = geometry.ijk_from_stack(np.argwhere(mask)).astype(int).T
    expected[k, j, i] = True
    assert (voxels == expected).all()


@thorough
@given(grids(), planes, planes, seeds)
def test_mask_seen_through_two_views_is_at_one_place(
    grid: Grid, first: Plane, second: Plane, seed: int
) -> None:
    one, other = StackGeometry(grid, first), StackGeometry(grid, second)
    voxels = one.from_stack(random_mask(one.shape, seed))

    def places(geometry: StackGeometry) -> np.ndarray:
        found = np.argwhere(geometry.to_stack(voxels))
        ras = grid.ras_from_ijk(geometry.ijk_from_stack(found))
        return ras[np.lexsort(np.round(ras, 4).T)]

    np.testing.assert_allclose(places(one), places(other), atol=1e-9)


@thorough
@given(grids(), planes, st.tuples(*[st.floats(-20, 20)] * 3))
def test_stack_coordinates_and_ras_invert(
    grid: Grid, plane: Plane, place: tuple[float, float, float]
) -> None:
    geometry = StackGeometry(grid, plane)
    np.testing.assert_allclose(
        geometry.stack_from_ijk(geometry.ijk_from_stack(place)), place, atol=1e-9
    )
    np.testing.assert_allclose(grid.ijk_from_ras(grid.ras_from_ijk(place)), place, atol=1e-6)
    whole = np.round(place)
    assert (geometry.stack_from_ijk(geometry.ijk_from_stack(whole)) == whole).all()


@thorough
@given(grids(25.0), planes, orders, flips, seeds)
def test_storage_order_does_not_change_the_frames(
    grid: Grid, plane: Plane, order: list[int], signs: tuple[int, ...], seed: int
) -> None:
    array = np.random.default_rng(seed).integers(-500, 500, grid.size[::-1]).astype(np.int16)
    array.flat[0], array.flat[1] = -500, 499
    mapping = IntensityMapping(-500, 499)
    stack = SliceStack(Volume(array, grid), plane, mapping)
    other = SliceStack(Volume(*restored(array, grid, order, signs)), plane, mapping)
    assert stack.shape == other.shape
    for index in range(len(stack)):
        assert (stack.frame(index) == other.frame(index)).all()
    corners = np.array([(0, 0, 0), np.array(stack.shape) - 1])
    here, there = (
        s.volume.grid.ras_from_ijk(s.geometry.ijk_from_stack(corners)) for s in (stack, other)
    )
    np.testing.assert_allclose(here, there, atol=1e-6)
    np.testing.assert_allclose(stack.geometry.spacing, other.geometry.spacing)


@thorough
@given(grids(20.0), planes)
def test_slices_are_shown_as_radiologists_see_them(grid: Grid, plane: Plane) -> None:
    geometry = StackGeometry(grid, plane)
    steps = grid.ijk_to_ras[:3, :3] @ geometry.ijk_from_stack_matrix[:3, :3]
    slice_, row, col = steps.T
    right, anterior, superior = 0, 1, 2
    if plane is Plane.AXIAL:
        assert slice_[superior] > 0
        assert row[anterior] < 0
        assert col[right] < 0
    elif plane is Plane.CORONAL:
        assert slice_[anterior] > 0
        assert row[superior] < 0
        assert col[right] < 0
    else:
        assert slice_[right] > 0
        assert row[superior] < 0
        assert col[anterior] < 0
    np.testing.assert_allclose(np.linalg.norm(steps, axis=0), geometry.spacing)


@thorough
@given(grids())
def test_every_axis_has_one_plane(grid: Grid) -> None:
    assert {grid.axis_of(plane) for plane in Plane} == {0, 1, 2}
    assert all(grid.plane_of(grid.axis_of(plane)) is plane for plane in Plane)
    assert sorted(StackGeometry(grid, Plane.AXIAL).shape) == sorted(grid.size)


def test_views_share_memory() -> None:
    geometry = StackGeometry(make_grid((3, 4, 5)), Plane.SAGITTAL)
    voxels = np.zeros((3, 4, 5), np.uint8)
    assert np.shares_memory(geometry.to_stack(voxels), voxels)
    assert np.shares_memory(geometry.from_stack(geometry.to_stack(voxels)), voxels)


@pytest.mark.parametrize(
    ("spacing", "plane"),
    [((1, 1, 5), Plane.AXIAL), ((1, 5, 1), Plane.CORONAL), ((5, 1, 1), Plane.SAGITTAL),
     ((1, 1, 1), Plane.AXIAL), ((1.05, 1, 1), Plane.AXIAL), ((3, 3, 1), Plane.AXIAL)],
)  # fmt: skip
def test_thickest_plane(spacing: tuple[float, float, float], plane: Plane) -> None:
    assert make_grid((4, 5, 6), spacing=spacing).thickest_plane() is plane


def test_contains_reaches_half_a_voxel() -> None:
    grid = make_grid((4, 5, 6))
    assert grid.contains((-0.5, 0, 0))
    assert grid.contains((5.49, 4.49, 3.49))
    assert not grid.contains((-0.51, 0, 0))
    assert not grid.contains((5.5, 0, 0))


def test_matches_tolerates_rounding_only() -> None:
    grid = make_grid((4, 5, 6))
    moved = grid.ijk_to_ras.copy()
    moved[0, 3] += 0.005
    assert grid.matches(Grid(grid.size, moved))
    moved[0, 3] += 0.1
    assert not grid.matches(Grid(grid.size, moved))
    assert not grid.matches(Grid((6, 5, 3), grid.ijk_to_ras))


@pytest.mark.parametrize(
    "matrix", [np.eye(3), np.diag([1, 1, 0, 1.0]), np.full((4, 4), np.nan), np.ones((4, 4))]
)
def test_impossible_grids_are_refused(matrix: np.ndarray) -> None:
    with pytest.raises(UserError):
        Grid((2, 2, 2), matrix)


def test_grid_matrix_cannot_be_changed() -> None:
    grid = make_grid((4, 5, 6))
    with pytest.raises(ValueError, match="read-only"):
        grid.ijk_to_ras[0, 0] = 2
