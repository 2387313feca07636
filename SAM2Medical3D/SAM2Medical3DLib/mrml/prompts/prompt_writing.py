"""Markups made to say something: only what differs is touched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import slicer

from ...errors import UserError
from ...geometry import StackGeometry
from ...prompts import Box, Point
from .markups import PlacedPoint, box_of_roi, placed_points, point_to_world, shape_roi

_SAME_PLACE = 0.01  # pixels


class _Edit(NamedTuple):
    """One change of a list of control points; without a point, ``number`` is removed."""

    number: int
    world: tuple[float, float, float] | None = None
    moves: bool = False


def write_points(
    node: slicer.vtkMRMLMarkupsNode, geometry: StackGeometry, wanted: Mapping[int, Sequence[Point]]
) -> None:
    """Make a node hold these points and no other, in this order on each slice.

    Points that are there already stay as they are, those that are previewed or not placed too.
    Others are moved rather than replaced where that can be.
    """
    present: dict[int | None, list[PlacedPoint]] = {}
    for point in placed_points(geometry, node):
        present.setdefault(point.index, []).append(point)
    edits = [_Edit(point.number) for point in present.pop(None, ())]
    for index in sorted(present.keys() | wanted.keys()):
        end = node.GetNumberOfControlPoints()
        edits += _edits(geometry, index, present.get(index, []), wanted.get(index, ()), end)
    if edits:
        was_modifying = node.StartModify()
        try:
            _apply(node, edits)
        finally:
            node.EndModify(was_modifying)


def write_boxes(
    rois: Iterable[slicer.vtkMRMLMarkupsROINode],
    geometry: StackGeometry,
    wanted: Mapping[int, Box],
    create: Callable[[], slicer.vtkMRMLMarkupsROINode],
    remove: Callable[[slicer.vtkMRMLMarkupsROINode], None],
) -> None:
    """Make placed ROIs say these boxes and no other.

    Args:
        rois: those that are there; of two on a slice the later one says its box.
        geometry: the slices.
        wanted: boxes by slice.
        create, remove: makes another ROI, takes one away.
    """
    said, spare = {}, []
    for roi in rois:
        try:
            index, box = box_of_roi(geometry, roi)
        except UserError:  # dragged out of the volume, for example
            spare.append(roi)
            continue
        if index in said:
            spare.append(said[index][0])
        said[index] = roi, box
    for index in said.keys() - wanted.keys():
        spare.append(said.pop(index)[0])
    for index, box in sorted(wanted.items()):
        roi, is_now = said.get(index, (None, None))
        if is_now is None or not _same_box(is_now, box):
            roi = roi or (spare.pop(0) if spare else create())
            shape_roi(roi, geometry, index, box)
    for roi in spare:
        remove(roi)


def _edits(
    geometry: StackGeometry,
    index: int,
    present: Sequence[PlacedPoint],
    wanted: Sequence[Point],
    end: int,
) -> Iterator[_Edit]:
    """What turns the points of a slice into the wanted ones; ``end`` is the length of the list."""
    for old, new, after in _gaps(present, wanted):
        worlds = [point_to_world(geometry, index, point.row, point.col) for point in new]
        for point, world in zip(old, worlds, strict=False):
            yield _Edit(point.number, world, moves=True)
        for point in old[len(worlds) :]:
            yield _Edit(point.number)
        before = old[-1].number + 1 if old else end if after is None else after
        for world in worlds[len(old) :]:
            yield _Edit(before, world)


def _gaps(
    present: Sequence[PlacedPoint], wanted: Sequence[Point]
) -> Iterator[tuple[Sequence[PlacedPoint], Sequence[Point], int | None]]:
    """What differs between the points that are the same in both, and the number of the next."""
    first_old = first_new = 0
    for number, point in enumerate(wanted):
        rest = range(first_old, len(present))
        same = next((i for i in rest if _same_point(present[i], point)), None)
        if same is not None:
            yield present[first_old:same], wanted[first_new:number], present[same].number
            first_old, first_new = same + 1, number + 1
    yield present[first_old:], wanted[first_new:], None


def _apply(node: slicer.vtkMRMLMarkupsNode, edits: Sequence[_Edit]) -> None:
    for edit in edits:
        if edit.moves:
            node.SetNthControlPointPositionWorld(edit.number, edit.world)
    # From the end, so that no number changes before it is used; of several points that come to the
    # same place the last one first.
    others = [
        (edit.number, edit.world is None, n) for n, edit in enumerate(edits) if not edit.moves
    ]
    for number, removes, n in sorted(others, reverse=True):
        if removes:
            node.RemoveNthControlPoint(number)
        elif number < node.GetNumberOfControlPoints():
            node.InsertControlPointWorld(number, edits[n].world, _next_label(node))
        else:
            node.AddControlPointWorld(edits[n].world, _next_label(node))


def _next_label(node: slicer.vtkMRMLMarkupsNode) -> str:
    """What Slicer would call a point that the user places."""
    number = node.GetLastUsedControlPointNumber() + 1
    label = node.GetControlPointLabelFormat().replace("%d", str(number))
    return label.replace("%N", node.GetName())


def _same_point(one: PlacedPoint, other: Point) -> bool:
    return max(abs(one.row - other.row), abs(one.col - other.col)) <= _SAME_PLACE


def _same_box(one: Box, other: Box) -> bool:
    return all(abs(a - b) <= _SAME_PLACE for a, b in zip(_sides(one), _sides(other), strict=True))


def _sides(box: Box) -> tuple[float, float, float, float]:
    return box.row0, box.col0, box.row1, box.col1
