"""From markups to a segment in one call, with a stand-in for the model."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import slicer

from mrml_scenes import (  # noqa: E402
    SHAPE,
    add_segmentation,
    add_volume,
    block,
    ijk_to_ras,
    put_under,
    put_under_warp,
)
from SAM2Medical3DLib.errors import UserError  # noqa: E402
from SAM2Medical3DLib.geometry import Plane, StackGeometry  # noqa: E402
from SAM2Medical3DLib.mrml import (  # noqa: E402
    Masking,
    point_to_world,
    read_segment,
    set_locked,
    volume_from_node,
    write_segments,
)
from SAM2Medical3DLib.mrml.run import segment_from_markups  # noqa: E402
from SAM2Medical3DLib.prompts import Prompts  # noqa: E402
from SAM2Medical3DLib.propagation import ObjectResult, SliceResult, Span  # noqa: E402
from SAM2Medical3DLib.volume import SliceStack  # noqa: E402


class BlockPropagator:
    """Answers every slice with the part of a (K, J, I) mask that is there."""

    def __init__(self, mask: np.ndarray | None = None) -> None:
        self.mask = block((0, 3), (1, 5), (1, 5)) if mask is None else mask
        self.prompts: Prompts | None = None

    def propagate(self, stack: SliceStack, prompts: Prompts, span: Span) -> Iterator[SliceResult]:
        self.prompts = prompts
        on_stack = stack.geometry.to_stack(self.mask)
        first, last = span.limits(len(stack))
        for index in range(first, last + 1):
            yield SliceResult(index, {1: ObjectResult(on_stack[index], 0.9, 0.9)})


class Case:
    """A turned volume, a segmentation, and a point in the middle of the volume."""

    def __init__(self) -> None:
        self.scene = slicer.vtkMRMLScene()
        self.volume = add_volume(self.scene, ijk_to_ras(order=(1, 2, 0), turn=(10, 5, -8)))
        put_under(self.volume, ijk_to_ras(spacing=(1, 1, 1), turn=(0, 0, 30)))
        self.segmentation = add_segmentation(self.scene)
        self.points = self.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "F")

    def place(self, plane: Plane) -> None:
        geometry = StackGeometry(volume_from_node(self.volume).grid, plane)
        self.points.AddControlPointWorld(point_to_world(geometry, 2, 3, 3))

    def run(self, propagator: BlockPropagator | None = None, **options: object) -> str:
        segment = options.pop("segment", "liver")
        return segment_from_markups(
            self.volume,
            self.segmentation,
            segment,
            lambda: propagator or BlockPropagator(),
            positive=self.points,
            **options,
        )


@pytest.fixture
def case() -> Case:
    return Case()


@pytest.mark.parametrize("plane", Plane)
def test_markups_become_a_segment(case: Case, plane: Plane) -> None:
    case.place(plane)
    propagator, steps = BlockPropagator(), []
    segment_id = case.run(propagator, plane=plane, progress=lambda *step: steps.append(step))
    found = read_segment(case.segmentation, segment_id, case.volume)
    np.testing.assert_array_equal(found, propagator.mask)
    ((index, prompt),) = propagator.prompts.by_object[1].items()
    point = prompt.points[0]
    assert (index, round(point.row), round(point.col)) == (2, 3, 3)
    total = StackGeometry(volume_from_node(case.volume).grid, plane).shape[0]
    assert steps == [(n + 1, total) for n in range(total)]


def test_masking_and_span_are_passed_on(case: Case) -> None:
    case.place(Plane.AXIAL)
    other = block((0, 5), (0, 6), (0, 3))
    write_segments(case.segmentation, case.volume, {"other": other})
    span = Span(first=1, last=3)
    case.run(masking=Masking.OVERWRITE, span=span, plane=Plane.AXIAL)
    geometry = StackGeometry(volume_from_node(case.volume).grid, Plane.AXIAL)
    inside = np.zeros(SHAPE, bool)
    geometry.to_stack(inside)[1:4] = True
    expected = BlockPropagator().mask & inside
    np.testing.assert_array_equal(read_segment(case.segmentation, "liver", case.volume), expected)
    left = read_segment(case.segmentation, "other", case.volume)
    np.testing.assert_array_equal(left, other & ~expected)


def test_mistakes_are_found_before_the_model_is_loaded(case: Case) -> None:
    def no_model() -> BlockPropagator:
        raise AssertionError("the model was asked for")

    def attempt(segment: str = "liver", **options: object) -> None:
        segment_from_markups(
            case.volume, case.segmentation, segment, no_model, positive=case.points, **options
        )

    with pytest.raises(UserError, match="There is no prompt"):
        attempt()
    case.place(Plane.AXIAL)
    with pytest.raises(UserError, match="has no name"):
        attempt("")
    with pytest.raises(UserError, match="Unknown window"):
        attempt(window="foggy")
    with pytest.raises(UserError, match="slice range"):
        attempt(span=Span(first=3, last=1))
    write_segments(case.segmentation, case.volume, {"liver": block((0, 1), (0, 1), (0, 1))})
    set_locked(case.segmentation, "liver")
    with pytest.raises(UserError, match="is locked"):
        attempt()
    put_under_warp(case.segmentation)
    with pytest.raises(UserError, match="non-linear"):
        attempt("new")


def test_a_failure_in_mid_run_loses_nothing(case: Case) -> None:
    case.place(Plane.AXIAL)
    case.run()
    before = read_segment(case.segmentation, "liver", case.volume)

    class Breaks(BlockPropagator):
        def propagate(
            self, stack: SliceStack, prompts: Prompts, span: Span
        ) -> Iterator[SliceResult]:
            yield from list(super().propagate(stack, prompts, span))[:2]
            raise MemoryError

    with pytest.raises(MemoryError):
        case.run(Breaks(np.ones(SHAPE, bool)))
    after = read_segment(case.segmentation, "liver", case.volume)
    np.testing.assert_array_equal(after, before)
