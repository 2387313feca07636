"""Prompts, limits and options as they are typed, on the slices of a stack."""

from __future__ import annotations

import math
import warnings

import numpy as np

from ..errors import UserError
from ..files import ImageWarning, read_labelmap
from ..geometry import Grid, StackGeometry
from ..prompts import Box, Point, Prompts, SlicePrompt
from ..propagation import Span
from ..propagation.registry import METHODS, find_method
from ..propagation.stopping import StoppingRule
from .settings import SegmentSettings, Triple

_LARGEST_LABEL = 2**16 - 1


def build_prompts(settings: SegmentSettings, geometry: StackGeometry) -> Prompts:
    """All prompts of a run on a stack, checked.

    Points and boxes belong to the mask's object if there is a mask, otherwise to object 1.

    Raises:
        UserError: nothing given, something outside the volume, a mask that does not fit, points or
            boxes beside a mask of several labels.
    """
    prompts = Prompts()
    if settings.mask is not None:
        prompts = _mask_prompts(settings, geometry)
        if len(prompts.objects) > 1 and (settings.points or settings.negatives or settings.boxes):
            raise UserError(
                f"{settings.mask} holds {len(prompts.objects)} labels, so that it is unclear which "
                "object a point or box belongs to; give a mask of one label with them."
            )
    object_id = prompts.objects[0] if prompts.objects else 1
    points: dict[int, list[Point]] = {}
    boxes: dict[int, Box] = {}
    for given, positive in ((settings.points, True), (settings.negatives, False)):
        for point in given:
            place = _stack_place(point, settings, geometry, "point")
            row, col, index = float(place[1]), float(place[2]), _slice_of(place[0], geometry)
            points.setdefault(index, []).append(Point(row, col, positive))
    for corners in settings.boxes:
        index, box = _box(corners, settings, geometry)
        if index in boxes:
            raise UserError(f"Two boxes lie on the same slice ({index}); give one per slice.")
        boxes[index] = box
    for index in sorted(points.keys() | boxes.keys()):
        on_slice = prompts.by_object.get(object_id, {}).get(index)
        prompt = SlicePrompt(
            tuple(points.get(index, ())),
            boxes.get(index),
            None if on_slice is None else on_slice.mask,
        )
        prompts = prompts.add(object_id, index, prompt)
    if not prompts.objects:
        raise UserError("There is no prompt; give --mask, --point or --box.")
    prompts.check(geometry)
    return prompts


def build_span(settings: SegmentSettings, geometry: StackGeometry) -> Span:
    """The direction and limits of a run in stack coordinates, checked.

    Raises:
        UserError: limits outside the volume or the wrong way round.
    """
    size = geometry.shape[0]
    first = 0 if settings.first is None else settings.first
    last = size - 1 if settings.last is None else settings.last
    if not 0 <= first <= last < size:
        raise UserError(
            f"--slices {first}:{last} is not inside 0:{size - 1}, the volume's slices along "
            f"{'IJK'[geometry.axis]} ({geometry.plane.value}), lower end first."
        )
    ends = np.zeros((2, 3))
    ends[:, geometry.axis] = first, last
    low, high = sorted(int(s) for s in geometry.stack_from_ijk(ends)[:, 0])
    return Span(settings.direction, low, high)


def method_options(settings: SegmentSettings) -> dict[str, object]:
    """What a run asks of its method in particular, as ``create_propagator`` takes it.

    Raises:
        UserError: values out of range, or options that the method does not have.
    """
    options: dict[str, object] = {}
    if not settings.boundary_refinement:
        options["boundary_refinement"] = False
    if settings.boundary is not None:
        options["boundary_maps"] = True
    foreign = options.keys() - find_method(settings.method).options
    if foreign:
        able = [method.name for method in METHODS.values() if foreign <= method.options]
        raise UserError(
            f"The method {settings.method} detects no boundaries; leave out --boundary and "
            f"--no-boundary-refinement, or take --method {' or '.join(able)}."
        )
    given = {
        "lowest_score": settings.stop_score,
        "poor_slices": settings.stop_slices,
        "bridge": settings.bridge,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if not given:
        return options
    if "stopping" not in find_method(settings.method).options:
        able = [method.name for method in METHODS.values() if "stopping" in method.options]
        raise UserError(
            f"The method {settings.method} has no stopping rule; leave out --stop-score, "
            f"--stop-slices and --bridge, or take --method {' or '.join(able)}."
        )
    return options | {"stopping": StoppingRule(**given)}


def slices_in_reach(prompts: Prompts, span: Span, n_slices: int) -> int:
    """How many slices a run will touch, for showing progress."""
    first, last = span.limits(n_slices)
    if span.direction.value == "forward":
        first = max(first, prompts.slices[0])
    elif span.direction.value == "backward":
        last = min(last, prompts.slices[-1])
    return len(set(range(first, last + 1)) | set(prompts.slices))


def _mask_prompts(settings: SegmentSettings, geometry: StackGeometry) -> Prompts:
    labels = read_labelmap(settings.mask, geometry.grid)
    if labels.max() > _LARGEST_LABEL:
        raise UserError(f"{settings.mask} has labels above {_LARGEST_LABEL}; renumber them.")
    if settings.plane is None:
        _warn_if_edge_on(labels, settings, geometry)
    return Prompts.from_labelmap(geometry.to_stack(labels))


def _warn_if_edge_on(
    labels: np.ndarray, settings: SegmentSettings, geometry: StackGeometry
) -> None:
    """A mask painted on one slice of another axis is a line on every slice of this one."""
    thickness = [
        np.count_nonzero(labels.any(axis=tuple(a for a in range(3) if a != 2 - axis)))
        for axis in range(3)
    ]
    thin = [axis for axis in range(3) if thickness[axis] == 1]
    if len(thin) == 1 and thin[0] != geometry.axis:
        meant = geometry.grid.plane_of(thin[0]).value
        warnings.warn(
            f"{settings.mask} lies on one {meant} slice but slicing is {geometry.plane.value}; "
            f"give --axis {meant} to propagate that slice.",
            ImageWarning,
            stacklevel=2,
        )


def _stack_place(
    place: Triple, settings: SegmentSettings, geometry: StackGeometry, what: str
) -> np.ndarray:
    """A typed coordinate as (slice, row, column), after checking that it is in the volume."""
    grid = geometry.grid
    ijk = grid.ijk_from_ras(place) if settings.ras else np.asarray(place, float)
    if not np.isfinite(ijk).all() or not grid.contains(ijk):
        typed = ",".join(f"{value:g}" for value in place)
        unit = "RAS mm" if settings.ras else "IJK"
        raise UserError(
            f"The {what} {typed} ({unit}) lies outside the volume, which has {_extent(grid)}"
            f"{'' if settings.ras else ' (add --ras if millimetres were meant)'}."
        )
    return geometry.stack_from_ijk(ijk)


def _extent(grid: Grid) -> str:
    return ", ".join(f"{axis} 0 to {n - 1}" for axis, n in zip("IJK", grid.size, strict=True))


def _slice_of(place: float, geometry: StackGeometry) -> int:
    """The slice whose voxels contain a slice coordinate inside the stack."""
    return min(math.floor(place + 0.5), geometry.shape[0] - 1)


def _box(
    corners: tuple[Triple, Triple], settings: SegmentSettings, geometry: StackGeometry
) -> tuple[int, Box]:
    one, other = (_stack_place(c, settings, geometry, "box corner") for c in corners)
    return _slice_of((one[0] + other[0]) / 2, geometry), Box(one[1], one[2], other[1], other[2])
