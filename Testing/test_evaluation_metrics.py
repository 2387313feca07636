"""Metrics against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from SAM2Medical3DLib.evaluation.metrics import Scores, scores

SHAPE = (10, 12, 12)


def box(rows: slice, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[rows, 4:8, 4:8] = True
    return mask


def test_a_cube_moved_by_one_slice() -> None:
    # 64 voxels each, 48 shared. Of 56 surface voxels 16 (the face that sticks out) are one slice
    # of 2 mm away, 4 (the middle of the other face) 1 mm, 36 none.
    found = scores(box(slice(3, 7)), box(slice(2, 6)), (2.0, 1.0, 1.0), tolerance_mm=1.0)
    assert found.dice == pytest.approx(2 * 48 / 128)
    assert found.iou == pytest.approx(48 / 80)
    assert found.hd95_mm == pytest.approx(2.0)
    assert found.nsd == pytest.approx(40 / 56)
    wider = scores(box(slice(3, 7)), box(slice(2, 6)), (2.0, 1.0, 1.0), tolerance_mm=2.0)
    assert wider.nsd == pytest.approx(1.0)


def test_the_tolerance_is_in_millimetres_along_every_axis() -> None:
    one, other = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    one[4, 5, 5] = other[6, 5, 5] = True
    found = scores(one, other, (2.5, 0.5, 0.5), tolerance_mm=4.9)
    assert (found.dice, found.iou, found.nsd) == (0, 0, 0)
    assert found.hd95_mm == pytest.approx(5.0)
    assert scores(one, other, (2.5, 0.5, 0.5), tolerance_mm=5.1).nsd == 1


def test_hd95_leaves_out_the_farthest_twentieth() -> None:
    truth = np.zeros((60, 3, 3), bool)
    truth[:40, 1, 1] = True
    far = truth.copy()
    far[59, 1, 1] = True  # 1 of 41 voxels, 20 away from the other's nearest
    assert scores(far, truth, (1.0, 1.0, 1.0)).hd95_mm == pytest.approx(0.0)
    # Of 43 distances 40 are 0, the others 18, 19 and 20: the 95th percentile lies at nine tenths
    # of the way from the 40th to the 41st.
    far[57:, 1, 1] = True
    assert scores(far, truth, (1.0, 1.0, 1.0)).hd95_mm == pytest.approx(0.9 * 18, abs=1e-3)


def test_the_border_of_the_volume_is_a_surface() -> None:
    shape = (4, 4, 4)
    whole, part = np.ones(shape, bool), np.ones(shape, bool)
    part[3] = False
    # Surfaces: 56 voxels of the whole, 44 of the part. Off by one voxel: 16 of the missing slice,
    # 4 in the middle of the part's last slice.
    found = scores(part, whole, (1.0, 1.0, 1.0), tolerance_mm=0.5)
    assert found.hd95_mm == pytest.approx(1.0)
    assert found.nsd == pytest.approx((40 + 40) / (44 + 56))
    assert scores(whole, whole, (1.0, 1.0, 1.0)) == Scores(1.0, 1.0, 0.0, 1.0)


def test_the_place_in_the_volume_changes_nothing() -> None:
    shape = (20, 30, 30)
    inside, border = np.zeros(shape, bool), np.zeros(shape, bool)
    inside[8:12, 9:16, 10:19] = True
    border[:4, :7, :9] = True
    moved, at_border = np.roll(inside, 1, 1), np.zeros(shape, bool)
    moved[8] = False
    at_border[1:4, 1:8, :9] = True
    spacing = (3.0, 0.7, 0.7)
    first, second = scores(moved, inside, spacing), scores(at_border, border, spacing)
    assert first == second


def test_empty_masks() -> None:
    nothing, something = np.zeros(SHAPE, bool), box(slice(2, 6))
    spacing = (2.0, 1.0, 0.5)
    diagonal = math.hypot(10 * 2.0, 12 * 1.0, 12 * 0.5)
    assert scores(nothing, nothing, spacing) == Scores(1.0, 1.0, 0.0, 1.0)
    assert scores(nothing, something, spacing) == Scores(0.0, 0.0, diagonal, 0.0)
    assert scores(something, nothing, spacing) == Scores(0.0, 0.0, diagonal, 0.0)
