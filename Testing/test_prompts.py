"""Prompts that are accepted or refused."""

from __future__ import annotations

import numpy as np
import pytest

from grids import make_grid
from SAM2Medical3DLib.errors import UserError
from SAM2Medical3DLib.geometry import Plane, StackGeometry
from SAM2Medical3DLib.prompts import Box, Point, Prompts, SlicePrompt

GEOMETRY = StackGeometry(make_grid((4, 5, 6)), Plane.AXIAL)
CLICK = SlicePrompt(points=(Point(2, 3),))
MASK = np.zeros((5, 6), bool)
MASK[1:3, 2:4] = True


def test_box_corners_come_in_any_order() -> None:
    assert Box(4, 5, 1, 2) == Box(1, 2, 4, 5) == Box(1, 5, 4, 2)


@pytest.mark.parametrize("corners", [(1, 1, 1, 4), (1, 1, 4, 1), (1, 1, 1, 1), (0, 0, np.nan, 4)])
def test_impossible_boxes_are_refused(corners: tuple[float, ...]) -> None:
    with pytest.raises(UserError, match="box"):
        Box(*corners)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, "empty"),
        ({"mask": np.zeros((5, 6))}, "empty"),
        ({"mask": np.zeros((2, 5, 6))}, "2D"),
        ({"mask": MASK, "points": (Point(1, 1),)}, "stands alone"),
        ({"mask": MASK, "box": Box(0, 0, 2, 2)}, "stands alone"),
        ({"points": (Point(1, 1, positive=False),)}, "negative"),
        ({"prior": np.zeros((5, 6))}, "earlier prediction"),
        ({"prior": np.zeros((5, 6)), "mask": MASK}, "stands alone"),
        ({"prior": np.zeros(5), "points": (Point(1, 1),)}, "2D"),
        ({"prior": np.full((5, 6), np.nan), "points": (Point(1, 1),)}, "not numbers"),
    ],
)
def test_impossible_slice_prompts_are_refused(parts: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        SlicePrompt(**parts)


def test_negative_points_with_a_box_are_fine() -> None:
    assert SlicePrompt(points=(Point(1, 1, False),), box=Box(0, 0, 2, 2)).box is not None


def test_negative_points_may_correct_what_was_there() -> None:
    corrected = SlicePrompt.correcting(MASK, [Point(1, 2, False)])
    assert ((corrected.prior > 0) == MASK).all()
    assert corrected.prior.dtype == np.float32
    assert corrected.mask is None


def test_a_prior_cannot_change() -> None:
    given = np.zeros((5, 6), np.float32)
    view = given[:]
    view.setflags(write=False)
    for prior in (given, view):
        prompt = SlicePrompt((Point(1, 1),), prior=prior)
        given[0, 0] = 7
        assert prompt.prior[0, 0] == 0
        given[0, 0] = 0
        with pytest.raises(ValueError, match="read-only"):
            prompt.prior[0, 0] = 1


def test_mask_is_a_copy_that_cannot_change() -> None:
    drawn = MASK.copy()
    prompt = SlicePrompt(mask=drawn)
    drawn[:] = True
    assert (prompt.mask == MASK).all()
    with pytest.raises(ValueError, match="read-only"):
        prompt.mask[0, 0] = True


def test_adding_leaves_the_original_alone() -> None:
    first = Prompts.single(1, CLICK)
    second = first.add(2, 3, CLICK).add(1, 0, CLICK)
    assert first.objects == (1,)
    assert first.slices == (1,)
    assert second.objects == (1, 2)
    assert second.slices == (0, 1, 3)


def test_removing_leaves_the_original_alone() -> None:
    both = Prompts.single(1, CLICK).add(1, 2, CLICK).add(2, 3, CLICK)
    assert both.remove(1, 2).slices == (1, 3)
    assert both.remove(2, 3).objects == (1,)
    assert both.remove(1).objects == (2,)
    assert both.remove(9).remove(1, 9).slices == both.slices == (1, 2, 3)


def test_labelmap_gives_every_label_of_every_slice() -> None:
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[1, 1, 1], labels[1, 2, 2], labels[3, 1:3, 4] = 7, 9, 7
    prompts = Prompts.from_labelmap(labels)
    assert set(prompts.objects) == {7, 9}
    assert prompts.slices == (1, 3)
    assert (prompts.by_object[7][3].mask == (labels[3] == 7)).all()
    prompts.check(GEOMETRY)
    with pytest.raises(UserError, match="empty"):
        Prompts.from_labelmap(np.zeros((4, 5, 6), np.uint8))


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        (Prompts(), "no prompt"),
        (Prompts({1: {}}), "no prompt"),
        (Prompts({1: {0: CLICK}, 2: {}}), "Object 2"),
        (Prompts.single(0, CLICK, 0), "label values"),
        (Prompts.single(-1, CLICK), "outside the volume"),
        (Prompts.single(4, CLICK), "outside the volume"),
        (Prompts.single(0, SlicePrompt(mask=MASK.T)), "5x6"),
        (Prompts.single(0, SlicePrompt((Point(1, 1),), prior=np.zeros((6, 5)))), "prior"),
        (Prompts.single(0, SlicePrompt(points=(Point(5, 0),))), "outside"),
        (Prompts.single(0, SlicePrompt(points=(Point(0, -0.6),))), "outside"),
        (Prompts.single(0, SlicePrompt(points=(Point(np.nan, 0),))), "outside"),
        (Prompts.single(0, SlicePrompt(box=Box(0, 0, 7, 2))), "outside"),
    ],
)
def test_prompts_that_do_not_fit_are_refused(prompts: Prompts, message: str) -> None:
    with pytest.raises(UserError, match=message):
        prompts.check(GEOMETRY)


def test_prompts_on_the_very_edge_fit() -> None:
    edge = SlicePrompt(points=(Point(-0.5, 5.5),), box=Box(-0.5, -0.5, 4.5, 5.5))
    Prompts.single(3, edge).check(GEOMETRY)
