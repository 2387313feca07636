"""Choosing the field of view from what the user gave."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from ..geometry import StackGeometry
from ..prompts import Point, SlicePrompt
from .field_of_view import FieldOfView, mask_box, prompt_box

# Longest side of the view over longest side of the object on the prompted slices. The object may
# grow by half on either side before it meets the border.
MARGIN = 2.0
_WIDER = 1.5

# When a view is used again: the margin to keep and the least to fill, as parts of its side.
_KEPT_FREE = 0.1
_LEAST_FILLED = 0.2

# Sides tried around a lone click, in millimetres: it says where the object is, not how large.
_CLICK_SIDES_MM = (36.0, 72.0, 144.0, 288.0)

# (mask, distinctness) of a prompted slice seen through a view.
Look = Callable[[int, FieldOfView], tuple[np.ndarray, float]]


def choose_view(
    geometry: StackGeometry,
    slices: Mapping[int, SlicePrompt],
    look: Look,
) -> FieldOfView:
    """One view for an object's run.

    Around all its boxes and masks; where there are clicks only, the view is found by predicting the
    clicked slice at several scales and taking the one whose mask is the most credible.

    Args:
        slices: the object's prompts by slice.
        look: predicts the object on a prompted slice through a view: its (height, width) mask and
            how far its brightness is distinct from that around it, 0..1.
    """
    _, height, width = geometry.shape
    spacing = geometry.spacing[1:]
    boxes = [prompt_box(prompt) for prompt in slices.values()]
    if None in boxes:
        for index, prompt in slices.items():
            if prompt_box(prompt) is None:
                found = _box_from_clicks(geometry, index, prompt, look)
                boxes.append(found)
    known = np.array([box for box in boxes if box is not None])
    low, high = known[:, :2].min(0), known[:, 2:].max(0)
    return FieldOfView.around((*low, *high), MARGIN, spacing, height, width)


def widen(view: FieldOfView) -> FieldOfView:
    """A wider view for a run whose mask met the border; soon the whole slice."""
    wider = view.widened(_WIDER)
    most = 0.8 * np.array((view.height, view.width))
    if (np.array(wider.shape) >= most).any():
        return FieldOfView.whole(view.height, view.width)
    return wider


def fits(view: FieldOfView, prompt: SlicePrompt, spacing: tuple[float, float]) -> bool:
    """Whether a view that was used before is good enough for a prompt.

    What the prompt encloses keeps a margin of a tenth of the view to every border that is not the
    slice's, and fills at least a fifth of it. Clicks alone need only lie inside.

    Args:
        spacing: of rows and columns in millimetres.
    """
    box = prompt_box(prompt)
    if box is None:
        return _holds(view, prompt.points)
    rows, cols = view.shape
    free = (
        view.row0 == 0 or box[0] >= view.row0 + _KEPT_FREE * rows,
        view.col0 == 0 or box[1] >= view.col0 + _KEPT_FREE * cols,
        view.row1 == view.height or box[2] <= view.row1 - 1 - _KEPT_FREE * rows,
        view.col1 == view.width or box[3] <= view.col1 - 1 - _KEPT_FREE * cols,
    )
    largest = max((box[2] - box[0] + 1) * spacing[0], (box[3] - box[1] + 1) * spacing[1])
    side = max(rows * spacing[0], cols * spacing[1])
    filled = view.is_whole or largest >= _LEAST_FILLED * side
    return all(free) and filled and _holds(view, prompt.points)


def widened_to(view: FieldOfView, points: Iterable[Point]) -> FieldOfView:
    """The view, widened until it holds all points."""
    points = tuple(points)
    while not _holds(view, points):
        view = widen(view)
    return view


def _holds(view: FieldOfView, points: Iterable[Point]) -> bool:
    return view.is_whole or all(
        view.row0 <= p.row <= view.row1 - 1 and view.col0 <= p.col <= view.col1 - 1 for p in points
    )


def _box_from_clicks(
    geometry: StackGeometry,
    index: int,
    prompt: SlicePrompt,
    look: Look,
) -> tuple[float, float, float, float]:
    """The box of the most credible mask over several scales, always with all clicks inside."""
    _, height, width = geometry.shape
    spacing = geometry.spacing[1:]
    rows = [p.row for p in prompt.points]
    cols = [p.col for p in prompt.points]
    clicks = (min(rows), min(cols), max(rows), max(cols))
    extent = max((clicks[2] - clicks[0]) * spacing[0], (clicks[3] - clicks[1]) * spacing[1])
    centre = ((clicks[0] + clicks[2]) / 2, (clicks[1] + clicks[3]) / 2)
    views = {FieldOfView.whole(height, width)} | {
        FieldOfView.square(centre, side + extent, spacing, height, width)
        for side in _CLICK_SIDES_MM
    }
    best, best_credit = clicks, -1.0
    for view in sorted(views, key=lambda v: v.shape):
        mask, _ = look(index, view)
        if not mask.any():
            continue
        # A scale is credible when its mask, looked at closely, is found again and differs from what
        # lies around it: shown only the inside of an organ, a network invents a small object there.
        box = mask_box(mask)
        again, distinctness = look(index, FieldOfView.around(box, MARGIN, spacing, height, width))
        agreement = (mask & again).sum() / (mask | again).sum()
        credit = agreement * distinctness * _respected(again, prompt.points)
        if credit > best_credit:
            best_credit = credit
            box = mask_box(again) if again.any() else box
            best = (
                min(box[0], clicks[0]),
                min(box[1], clicks[1]),
                max(box[2], clicks[2]),
                max(box[3], clicks[3]),
            )
    return best


def _respected(mask: np.ndarray, points: Sequence[Point]) -> float:
    """Share of the clicks that lie on the right side of a mask."""
    rows, cols = mask.shape
    right = [
        mask[min(int(p.row), rows - 1), min(int(p.col), cols - 1)] == p.positive for p in points
    ]
    return sum(map(bool, right)) / len(right)
