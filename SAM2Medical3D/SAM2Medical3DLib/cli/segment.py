"""The headless job: one volume and its prompts in, a 3D segmentation out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..colours import Colour, default_colours
from ..errors import UserError
from ..files import check_destination, read_segments, read_volume, write_segmentation
from ..files.writing import SUFFIXES, check_image_path, check_segmentation_path, write_image
from ..prompts import Prompts
from ..propagation import SliceResult
from ..propagation.registry import create_propagator, find_method
from ..volume import IntensityMapping, SliceStack
from .boundaries import keep_boundaries
from .prompting import build_prompts, build_span, method_options, slices_in_reach
from .report import ObjectRecord, SliceRecord, Timings, make_report, write_report
from .settings import SegmentSettings

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class SegmentOutcome:
    """What a run produced, in memory as well as in files.

    Attributes:
        labels: (K, J, I) unsigned integers on the volume's grid.
        stack: the slices as the model saw them.
        prompts: on those slices.
        objects: sizes and confidence of every object.
        names, colours: by label.
        timings: seconds.
        report: the same as ``--report`` writes.
    """

    labels: np.ndarray
    stack: SliceStack
    prompts: Prompts
    objects: tuple[ObjectRecord, ...]
    names: dict[int, str]
    colours: dict[int, Colour]
    timings: Timings
    report: dict[str, Any]


def run_segment(settings: SegmentSettings, progress: Progress | None = None) -> SegmentOutcome:
    """Segment a volume from prompts and write the files that the settings name.

    All input is checked before the model is loaded, and files are written only at the end: a
    failure or an interrupt leaves what was there.

    Where objects overlap, a mask that the user drew wins over a predicted one, and a higher label
    over a lower one.

    Args:
        settings: the run.
        progress: called with the numbers of slices done and in all.

    Returns:
        The segmentation and everything known about it.

    Raises:
        UserError: for every mistake in files, prompts, limits, model or device.
    """
    check_segmentation_path(settings.out)
    for path in (settings.report, settings.preview):
        if path is not None:
            check_destination(path)
    if settings.boundary is not None:
        check_image_path(settings.boundary)
    method = find_method(settings.method)
    options = method_options(settings)
    start = time.perf_counter()
    volume = read_volume(settings.volume)
    mapping = IntensityMapping.named(settings.window, volume)
    stack = SliceStack(volume, settings.plane, mapping)
    prompts = build_prompts(settings, stack.geometry)
    span = build_span(settings, stack.geometry)
    names, colours = _names_and_colours(settings, prompts)
    read = time.perf_counter()

    from ..models.registry import load_model

    model = load_model(
        method.choose_model(settings.model),
        image_size=settings.image_size,
        config=settings.config,
        device=settings.device,
    )
    propagator = create_propagator(
        settings.method,
        model,
        cache_bytes=settings.cache_mb * 2**20,
        field_of_view=settings.field_of_view,
        appearance=settings.appearance,
        **options,
    )
    loaded = time.perf_counter()

    total = slices_in_reach(prompts, span, len(stack))
    results = propagator.propagate(stack, prompts, span)
    boundaries = None
    if settings.boundary is not None:
        boundaries = np.zeros(volume.grid.size[::-1], np.uint8)
        results = keep_boundaries(results, stack.geometry.to_stack(boundaries))
    labels, records = _gather(results, stack, prompts, progress, total)
    propagated = time.perf_counter()

    objects = _object_records(labels, records, names, stack)
    write_segmentation(settings.out, labels, volume.grid, names, colours, volume.name)
    if boundaries is not None:
        write_image(settings.boundary, boundaries, volume.grid)
    if settings.preview is not None:
        _write_preview(settings.preview, labels, stack, prompts, names, colours)
    done = {record.slice for slices in records.values() for record in slices.values()}
    timings = Timings(
        read_s=read - start,
        model_load_s=loaded - read,
        propagation_s=propagated - loaded,
        write_s=time.perf_counter() - propagated,
        slices=len(done),
    )
    report = make_report(settings, stack, prompts, objects, timings, model)
    if settings.report is not None:
        write_report(settings.report, report)
    return SegmentOutcome(labels, stack, prompts, objects, names, colours, timings, report)


def _gather(
    results: Iterable[SliceResult],
    stack: SliceStack,
    prompts: Prompts,
    progress: Progress | None,
    total: int,
) -> tuple[np.ndarray, dict[int, dict[int, SliceRecord]]]:
    """Per-slice results into one (K, J, I) label array and {label: {slice: record}}."""
    geometry = stack.geometry
    kind = np.min_scalar_type(max(prompts.objects))
    labels = np.zeros(geometry.grid.size[::-1], kind)
    on_stack = geometry.to_stack(labels)
    records: dict[int, dict[int, SliceRecord]] = {label: {} for label in prompts.objects}
    done: set[int] = set()
    for result in results:
        index = result.index
        slice_ = on_stack[index]
        slice_[np.isin(slice_, list(result.objects))] = 0

        def drawn_by_user(label: int, index: int = index) -> bool:
            prompt = prompts.by_object[label].get(index)
            return prompt is not None and prompt.mask is not None

        for label in sorted(result.objects, key=lambda label: (drawn_by_user(label), label)):
            found = result.objects[label]
            slice_[found.mask] = label
            records[label][index] = SliceRecord(
                slice=index,
                voxel_index=int(geometry.ijk_from_stack((index, 0, 0))[geometry.axis]),
                pixels=int(np.count_nonzero(found.mask)),
                confidence=found.confidence,
                predicted_iou=float(found.predicted_iou),
                object_score=float(found.object_score),
                prompted=found.prompted,
            )
        done.add(index)
        if progress is not None:
            progress(min(len(done), total), total)
    return labels, records


def _object_records(
    labels: np.ndarray,
    records: dict[int, dict[int, SliceRecord]],
    names: dict[int, str],
    stack: SliceStack,
) -> tuple[ObjectRecord, ...]:
    voxel_ml = abs(np.linalg.det(stack.volume.grid.ijk_to_ras[:3, :3])) / 1000
    objects = []
    for label, slices in records.items():
        voxels = int(np.count_nonzero(labels == label))
        ordered = tuple(slices[index] for index in sorted(slices))
        objects.append(ObjectRecord(label, names[label], voxels, voxels * voxel_ml, ordered))
    return tuple(objects)


def _names_and_colours(
    settings: SegmentSettings, prompts: Prompts
) -> tuple[dict[int, str], dict[int, Colour]]:
    """From the command line, else the mask's file, else the name of the result."""
    labels = sorted(prompts.objects)
    if settings.names and len(settings.names) != len(labels):
        raise UserError(
            f"{len(settings.names)} segment name(s) for {len(labels)} object(s); give --name once "
            "for each label of the mask, in ascending order."
        )
    known = read_segments(settings.mask) if settings.mask is not None else {}
    stem = Path(settings.out).name
    stem = stem[: -len(next(s for s in SUFFIXES if stem.lower().endswith(s)))] or "segment"
    names, colours = {}, default_colours(labels)
    for place, label in enumerate(labels):
        if settings.names:
            names[label] = settings.names[place]
        elif label in known:
            names[label] = known[label].name
        else:
            names[label] = stem if len(labels) == 1 else f"{stem} {label}"
        if label in known:
            colours[label] = known[label].colour
    return names, colours


def _write_preview(
    path: Path,
    labels: np.ndarray,
    stack: SliceStack,
    prompts: Prompts,
    names: dict[int, str],
    colours: dict[int, Colour],
) -> None:
    from ..preview import save_preview

    on_stack = stack.geometry.to_stack(labels)
    masks = {label: on_stack == label for label in names}
    save_preview(path, stack, masks, prompts, names, colours)
