"""One run from nodes to nodes: markups on a volume become a segment."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import slicer

from ..errors import UserError
from ..geometry import Plane
from ..propagation import Propagator, SliceResult, Span, collect
from ..volume import IntensityMapping, SliceStack
from .markups import prompts_from_markups
from .masking import Masking
from .segment_rules import find_segment, refusal, segmentation_of
from .segmentations import write_segments
from .volumes import grid_from_node, volume_from_node

Progress = Callable[[int, int], None]
_OBJECT = 1


def segment_from_markups(
    volume_node: slicer.vtkMRMLScalarVolumeNode,
    segmentation_node: slicer.vtkMRMLSegmentationNode,
    segment: str,
    create_propagator: Callable[[], Propagator],
    *,
    positive: slicer.vtkMRMLMarkupsFiducialNode | None = None,
    negative: slicer.vtkMRMLMarkupsFiducialNode | None = None,
    roi: slicer.vtkMRMLMarkupsROINode | None = None,
    plane: Plane | None = None,
    window: str = "auto",
    span: Span | None = None,
    masking: Masking = Masking.OVERLAP,
    progress: Progress | None = None,
) -> str:
    """Carry markups through a volume and write the result into a segment.

    All that the user may have got wrong is checked before the model is asked for, and the
    segmentation is written once, at the end: a failure leaves everything as it was.

    Args:
        volume_node: the image.
        segmentation_node: where the result goes.
        segment: id or name of the segment to replace, or the name of a new one.
        create_propagator: makes the method with its model; called once all input is checked.
        positive, negative, roi: see :func:`~.markups.prompts_from_markups`.
        plane: slicing plane; None takes that of the thickest slices.
        window: see :meth:`~..volume.IntensityMapping.named`.
        span: which slices may be written; None is all.
        masking: see :func:`~.segmentations.write_segments`.
        progress: called with the numbers of slices done and in reach.

    Returns:
        The segment's id.

    Raises:
        UserError: for every mistake in nodes, markups, window or span.
    """
    span = Span() if span is None else span
    volume = volume_from_node(volume_node)
    _check_target(volume_node, segmentation_node, segment)
    stack = SliceStack(volume, plane, IntensityMapping.named(window, volume))
    prompts = prompts_from_markups(stack.geometry, positive, negative, roi, _OBJECT)
    prompts.check(stack.geometry)
    first, last = span.limits(len(stack))
    results = create_propagator().propagate(stack, prompts, span)
    masks = collect(_counted(results, last - first + 1, progress), stack.geometry)
    mask = stack.geometry.from_stack(masks[_OBJECT])
    return write_segments(segmentation_node, volume_node, {segment: mask}, masking)[segment]


def _check_target(
    volume_node: slicer.vtkMRMLScalarVolumeNode,
    segmentation_node: slicer.vtkMRMLSegmentationNode,
    segment: str,
) -> None:
    """Refuse now what writing would refuse after the whole run."""
    segment_id = find_segment(segmentation_of(segmentation_node), segment)
    grid_from_node(volume_node, segmentation_node)
    sentence = None if segment_id is None else refusal(segmentation_node, segment_id)
    if not segment:
        sentence = "The segment has no name; type one."
    if sentence is not None:
        raise UserError(sentence)


def _counted(
    results: Iterator[SliceResult], total: int, progress: Progress | None
) -> Iterator[SliceResult]:
    done: set[int] = set()
    for result in results:
        done.add(result.index)
        if progress is not None:
            progress(min(len(done), total), total)
        yield result
