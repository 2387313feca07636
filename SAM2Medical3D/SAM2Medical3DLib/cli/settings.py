"""What a headless segmentation needs to know."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..geometry import Plane
from ..propagation import Direction

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class SegmentSettings:
    """One run of ``segment``: files, prompts, and how to propagate.

    Coordinates are voxel indices (I, J, K) of the volume as it is stored, voxel centres at
    integers, as 3D Slicer's data probe shows them.

    Args:
        volume: image file, or folder of a DICOM series.
        out: segmentation file to write (``.seg.nrrd``, ``.nrrd``, ``.nii``, ``.nii.gz``, ``.mha``).
        mask: labelmap whose non-empty slices are mask prompts; every label is an object.
        points, negatives: clicks inside and outside the object.
        boxes: pairs of opposite corners of a rectangle in one slice; corners on different slices
            put the box on the slice in the middle.
        ras: points and boxes are RAS millimetres instead of voxel indices.
        plane: slicing plane; None takes the plane of the thickest slices, axial if none.
        first, last: inclusive limits of the result, as voxel indices along the slicing axis.
        direction: which way to propagate.
        window: see ``IntensityMapping.named``.
        model: None takes the method's own.
        stop_score, stop_slices, bridge: see ``StoppingRule``; None keeps its defaults. Only for
            methods that have it.
        boundary_refinement: False leaves out what a method that detects boundaries does with them.
        method, config, image_size, device, field_of_view, appearance, cache_mb: the propagator.
        names: segment names in the order of the labels; empty for names from the mask or the file.
        report, preview: further files to write.
        boundary: image file for the boundaries that a method detected, in percent.
    """

    volume: Path | str
    out: Path
    mask: Path | None = None
    points: tuple[Triple, ...] = ()
    negatives: tuple[Triple, ...] = ()
    boxes: tuple[tuple[Triple, Triple], ...] = ()
    ras: bool = False
    plane: Plane | None = None
    first: int | None = None
    last: int | None = None
    direction: Direction = Direction.BOTH
    window: str = "auto"
    method: str = "sam2"
    model: str | None = None
    config: str | Path | None = None
    image_size: int | None = None
    device: str = "auto"
    field_of_view: str = "model"
    appearance: float | None = None
    cache_mb: int = 512
    stop_score: float | None = None
    stop_slices: int | None = None
    bridge: int | None = None
    boundary_refinement: bool = True
    names: tuple[str, ...] = ()
    report: Path | None = None
    preview: Path | None = None
    boundary: Path | None = None
