"""Simulated clicks on masks made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from SAM2Medical3DLib.evaluation.clicks import next_click, tight_box, worst_error_click
from SAM2Medical3DLib.prompts import Box, Point


def square(row: int, col: int, side: int, shape: tuple[int, int] = (40, 40)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[row : row + side, col : col + side] = True
    return mask


NOTHING = np.zeros((40, 40), bool)


def test_the_first_click_is_the_deepest_pixel() -> None:
    assert next_click(square(10, 20, 7), NOTHING) == Point(13, 23, True)


def test_the_deepest_part_wins_not_the_largest() -> None:
    truth = square(2, 2, 7)
    truth[20:25] = True  # 200 pixels, but only 5 deep
    assert next_click(truth, NOTHING) == Point(5, 5, True)


def test_the_edge_of_the_slice_is_a_border() -> None:
    # Depth 3 in the corner as anywhere else.
    assert next_click(square(0, 0, 5), NOTHING) == Point(2, 2, True)


def test_a_negative_click_only_where_strictly_deeper() -> None:
    missed, spurious = square(2, 2, 7), square(20, 20, 7)
    assert next_click(missed, spurious) == Point(5, 5, True)
    assert next_click(missed, square(20, 20, 9)) == Point(24, 24, False)
    assert next_click(square(2, 2, 9), spurious) == Point(6, 6, True)


def test_errors_under_the_threshold_get_no_click() -> None:
    assert next_click(square(5, 5, 2), NOTHING) is None  # depth 1
    assert next_click(square(5, 5, 3), NOTHING) == Point(6, 6, True)  # depth 2
    plus = NOTHING.copy()
    plus[5, 4:7] = plus[4:7, 5] = True  # depth sqrt(2) = 1.414 < 1.42
    assert next_click(plus, NOTHING) is None
    truth = square(5, 5, 12)
    assert next_click(truth, truth) is None


def test_parts_that_touch_at_a_corner_are_apart() -> None:
    # As one region the pixel at the shared corner would be deeper than in either part.
    truth = square(4, 4, 5) | square(9, 9, 5)
    assert next_click(truth, NOTHING) == Point(6, 6, True)


def test_of_equally_deep_parts_the_first_in_reading_order() -> None:
    assert next_click(square(20, 4, 5) | square(4, 20, 5), NOTHING) == Point(6, 22, True)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_click_lies_in_its_error_and_is_deepest(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, predicted = (ndimage.gaussian_filter(rng.random((32, 36)), 2) > 0.5 for _ in range(2))
    click = next_click(truth, predicted)
    # The rule word by word: every part by itself, on the whole slice.
    deepest = {}
    for positive, region in ((True, truth & ~predicted), (False, predicted & ~truth)):
        parts, count = ndimage.label(np.pad(region, 1))
        depths = [ndimage.distance_transform_edt(parts == n).max() for n in range(1, count + 1)]
        deepest[positive] = max(depths, default=0.0)
    if max(deepest.values()) <= 1.42:
        assert click is None
        return
    assert click.positive == (deepest[True] >= deepest[False])
    region = truth & ~predicted if click.positive else predicted & ~truth
    place = int(click.row), int(click.col)
    assert region[place]
    parts, _ = ndimage.label(np.pad(region, 1))
    own = parts == parts[place[0] + 1, place[1] + 1]
    depth = ndimage.distance_transform_edt(own)[place[0] + 1, place[1] + 1]
    assert depth == pytest.approx(deepest[click.positive])


def test_the_worst_error_in_3d_is_the_deepest_in_millimetres() -> None:
    truth, predicted = np.zeros((12, 30, 30), bool), np.zeros((12, 30, 30), bool)
    truth[2:5, 3:16, 3:16] = True  # missed: 3 slices of 5 mm, 13 pixels of 1 mm
    predicted[7:10, 16:29, 16:29] = True  # spurious: as deep, which is not deeper
    spacing = (5.0, 1.0, 1.0)
    click = worst_error_click(truth, predicted, spacing)
    assert (click.slice, click.point) == (3, Point(9, 9, True))
    predicted |= truth
    click = worst_error_click(truth, predicted, spacing)
    assert (click.slice, click.point) == (8, Point(22, 22, False))
    assert worst_error_click(truth, truth, spacing) is None


def test_thin_errors_in_3d_are_still_clicked() -> None:
    truth = np.zeros((6, 8, 8), bool)
    truth[5, 7, 7] = True  # in the volume's corner
    click = worst_error_click(truth, np.zeros_like(truth), (1.0, 1.0, 1.0))
    assert (click.slice, click.point) == (5, Point(7, 7, True))


def test_the_tight_box() -> None:
    assert tight_box(square(3, 5, 4)) == Box(2.5, 4.5, 6.5, 8.5)
