"""``segment``: from typed options to a run and its summary."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..geometry import Plane
from ..propagation import Direction
from ..propagation.registry import DEFAULT_METHOD, METHODS
from ..propagation.stopping import StoppingRule
from .network_options import add_network_options, positive
from .progress import ProgressLine
from .segment import SegmentOutcome, run_segment
from .settings import SegmentSettings, Triple

_EPILOG = """\
Coordinates are voxel indices of the volume as it is stored, the numbers that 3D Slicer's data probe
shows; with --ras they are RAS millimetres. Forward is towards superior (axial), anterior (coronal)
and the patient's right (sagittal).

examples:
  sam2medical3d segment ct.nii.gz --point 180,240,57 --out liver.seg.nrrd --preview liver.png
  sam2medical3d segment series/ --box 120,80,40,190,150,40 --out spleen.seg.nrrd
  sam2medical3d segment mr.nrrd --mask one_slice.nrrd --axis coronal --out tumour.nii.gz
"""

_WITH_A_MODEL = "sam2"  # what any SAM 2.1 checkpoint can be used with


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add ``segment`` to the command line."""
    parser = commands.add_parser(
        "segment",
        help="segment an object in a volume from prompts on one or more slices",
        description="Carry prompts on one or more slices through a volume.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "volume", metavar="VOLUME",
        help="NIfTI, NRRD, MetaImage or other image file, or a folder with a DICOM series "
        "(FOLDER#SERIES_UID where it holds several)",
    )  # fmt: skip
    add_prompt_options(parser)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE",
        help="segmentation to write: .seg.nrrd opens in 3D Slicer with names and colours; .nrrd, "
        ".nii, .nii.gz and .mha are plain labels",
    )  # fmt: skip
    parser.add_argument(
        "--name", action="append", default=[], metavar="NAME",
        help="segment name; repeat for several objects, in the order of their labels",
    )  # fmt: skip
    parser.add_argument(
        "--report", type=Path, metavar="FILE.json",
        help="write confidence per slice, volumes, timings and settings",
    )  # fmt: skip
    parser.add_argument(
        "--preview", type=Path, metavar="FILE.png", help="write a montage with contours"
    )
    parser.add_argument(
        "--boundary", type=Path, metavar="FILE",
        help="sam2-3dmed: write the detected boundaries as an image, in percent",
    )  # fmt: skip
    add_model_options(parser)
    parser.set_defaults(run=run)


def add_prompt_options(parser: argparse.ArgumentParser) -> None:
    """What is prompted in the volume, and how it is sliced."""
    prompts = parser.add_argument_group("prompts (repeat as needed, on one or more slices)")
    prompts.add_argument(
        "--mask", type=Path, metavar="FILE",
        help="labelmap on the volume's grid; its non-empty slices are prompts and its labels "
        "objects",
    )  # fmt: skip
    prompts.add_argument(
        "--point", action="append", default=[], type=_triple, metavar="i,j,k",
        help="a point inside the object",
    )  # fmt: skip
    prompts.add_argument(
        "--negative", action="append", default=[], type=_triple, metavar="i,j,k",
        help="a point outside the object",
    )  # fmt: skip
    prompts.add_argument(
        "--box", action="append", default=[], type=_corners, metavar="i0,j0,k0,i1,j1,k1",
        help="opposite corners of a box around the object in one slice (the middle one if the "
        "corners lie on different slices)",
    )  # fmt: skip
    prompts.add_argument(
        "--ras", action="store_true", help="points and boxes are RAS millimetres, not voxels"
    )
    slicing = parser.add_argument_group("slicing")
    slicing.add_argument(
        "--axis", choices=[plane.value for plane in Plane],
        help="slicing plane (default: the one of the thickest slices, axial if none)",
    )  # fmt: skip
    slicing.add_argument(
        "--slices", type=_range, default=(None, None), metavar="first:last",
        help="limits of the result, voxel indices along the slicing axis; either may be left out",
    )  # fmt: skip
    slicing.add_argument(
        "--direction", choices=[direction.value for direction in Direction], default="both",
        help="which way to go from the prompted slices (default: both)",
    )  # fmt: skip
    slicing.add_argument(
        "--window", default="auto", metavar="NAME",
        help="intensities shown to the model: auto, display, percentiles, range, per-slice, a CT "
        "preset (abdomen, lung, bone, brain, mediastinum, liver) or LEVEL/WIDTH (default: auto)",
    )  # fmt: skip


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """The propagation method and the model it runs."""
    group = parser.add_argument_group("model")
    add_network_options(group)
    group.add_argument(
        "--method", metavar="NAME",
        help=f"propagation method: {', '.join(METHODS)} (default: {DEFAULT_METHOD} with its own "
        f"model, {_WITH_A_MODEL} where a --model is given)",
    )  # fmt: skip
    rule = StoppingRule()
    group.add_argument(
        "--stop-score", type=float, metavar="0..1",
        help="radsam: a slice below this score is poor; 0 leaves the score out "
        f"(default: {rule.lowest_score:g})",
    )  # fmt: skip
    group.add_argument(
        "--stop-slices", type=positive, metavar="N",
        help=f"radsam: so many poor slices in a row end an object (default: {rule.poor_slices})",
    )  # fmt: skip
    group.add_argument(
        "--bridge", type=int, metavar="N",
        help="radsam: empty slices in a row after which an object may go on "
        f"(default: {rule.bridge})",
    )  # fmt: skip
    group.add_argument(
        "--no-boundary-refinement", action="store_true",
        help="sam2-3dmed: masks as they are before their boundaries are refined",
    )  # fmt: skip


def settings_from(arguments: argparse.Namespace, out: Path) -> SegmentSettings:
    """Settings from parsed options; options that a command lacks keep their defaults."""
    first, last = arguments.slices
    return SegmentSettings(
        volume=arguments.volume,
        out=out,
        mask=arguments.mask,
        points=tuple(arguments.point),
        negatives=tuple(arguments.negative),
        boxes=tuple(arguments.box),
        ras=arguments.ras,
        plane=None if arguments.axis is None else Plane(arguments.axis),
        first=first,
        last=last,
        direction=Direction(arguments.direction),
        window=arguments.window,
        method=arguments.method or (_WITH_A_MODEL if arguments.model else DEFAULT_METHOD),
        model=arguments.model,
        config=arguments.config,
        image_size=arguments.image_size,
        device=arguments.device,
        field_of_view=arguments.field_of_view,
        appearance=arguments.appearance,
        cache_mb=arguments.cache_mb,
        stop_score=arguments.stop_score,
        stop_slices=arguments.stop_slices,
        bridge=arguments.bridge,
        boundary_refinement=not arguments.no_boundary_refinement,
        names=tuple(getattr(arguments, "name", ())),
        report=getattr(arguments, "report", None),
        preview=getattr(arguments, "preview", None),
        boundary=getattr(arguments, "boundary", None),
    )


def run(arguments: argparse.Namespace) -> int:
    """Run ``segment``; returns the exit status."""
    settings = settings_from(arguments, arguments.out)
    outcome = run_with_progress(settings)
    print_summary(outcome)
    for path in (settings.out, settings.preview, settings.report, settings.boundary):
        if path is not None:
            print(f"wrote {path}")
    return 0


def run_with_progress(settings: SegmentSettings) -> SegmentOutcome:
    """``run_segment`` with a progress line on standard error."""
    line = ProgressLine(sys.stderr, lambda done, total: f"segmented {done} of {total} slices")
    try:
        return run_segment(settings, line)
    finally:
        line.close()


def print_summary(outcome: SegmentOutcome) -> None:
    """One line per object and one of timings, on standard output."""
    axis = "IJK"[outcome.stack.geometry.axis]
    for found in outcome.objects:
        held = [record for record in found.slices if record.pixels]
        if not held:
            print(f"{found.name}: nothing found")
            continue
        indices = sorted(record.voxel_index for record in held)
        doubtful = min(held, key=lambda record: record.confidence)
        print(
            f"{found.name}: {found.volume_ml:.4g} mL ({found.voxels} voxels) on {len(held)} "
            f"{outcome.stack.plane.value} slices, {axis} {indices[0]} to {indices[-1]}; mean "
            f"confidence {found.mean_confidence:.2f}, lowest {doubtful.confidence:.2f} at {axis} "
            f"{doubtful.voxel_index}"
        )
    timings = outcome.timings
    print(
        f"{timings.total_s:.1f} s in all: model {timings.model_load_s:.1f} s, {timings.slices} "
        f"slices at {timings.seconds_per_slice:.2f} s"
    )


def _numbers(text: str, count: int) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != count:
        raise argparse.ArgumentTypeError(
            f"'{text}' is not {count} numbers separated by commas without spaces"
        )
    return values


def _triple(text: str) -> Triple:
    return _numbers(text, 3)


def _corners(text: str) -> tuple[Triple, Triple]:
    values = _numbers(text, 6)
    return values[:3], values[3:]


def _range(text: str) -> tuple[int | None, int | None]:
    first, colon, last = text.partition(":")
    try:
        if not colon:
            raise ValueError(text)
        return (int(first) if first else None), (int(last) if last else None)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is not first:last, such as 20:60") from error
