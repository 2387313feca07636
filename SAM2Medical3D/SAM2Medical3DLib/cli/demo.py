"""``demo``: the main job from end to end on a phantom, or on a volume of the user's own."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from ..colours import default_colours
from ..errors import UserError
from ..files import write_segmentation
from ..files.images import image_on
from ..geometry import Grid, StackGeometry
from .segment import SegmentOutcome
from .segment_command import (
    add_model_options,
    add_prompt_options,
    print_summary,
    run_with_progress,
    settings_from,
)
from .settings import SegmentSettings

_OBJECT = "left kidney"


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add ``demo`` to the command line."""
    parser = commands.add_parser(
        "demo",
        help="segment a generated phantom, or your own volume, from one prompt",
        description="Do the main job from end to end: one prompt on one slice becomes a 3D "
        "segmentation, a preview and a 3D picture.",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for the results"
    )
    parser.add_argument(
        "--volume", metavar="VOLUME", help="your own volume, with a prompt (default: a phantom)"
    )
    parser.add_argument(
        "--object",
        default=_OBJECT,
        metavar="NAME",
        help=f"structure of the phantom to segment, such as liver or aorta (default: {_OBJECT})",
    )
    add_prompt_options(parser)
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run ``demo``; returns the exit status."""
    out: Path = arguments.out
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"The folder {out} cannot be created ({error.strerror}).") from error
    settings = replace(
        settings_from(arguments, out / "segmentation.seg.nrrd"),
        report=out / "report.json",
        preview=out / "preview.png",
    )
    if settings.volume is None:
        if settings.mask or settings.points or settings.negatives or settings.boxes:
            raise UserError("The prompt is for a volume of your own; add --volume.")
        outcome = _phantom(settings, out, arguments.object)
    else:
        outcome = run_with_progress(settings)
        print_summary(outcome)
    _render(outcome, out / "3d.png")
    print(f"results are in {out.resolve()}")
    return 0


def _phantom(settings: SegmentSettings, out: Path, wanted: str) -> SegmentOutcome:
    """Segment a structure of the phantom from its central mask, then from a box and a click."""
    truth, grid = _write_phantom(out, wanted)
    geometry = StackGeometry(grid, settings.plane or grid.thickest_plane())
    on_stack = geometry.to_stack(truth)
    used = np.flatnonzero(on_stack.any(axis=(1, 2)))
    central = int(used[len(used) // 2])
    mask = on_stack[central]
    prompt = np.zeros(truth.shape, np.uint8)
    geometry.to_stack(prompt)[central] = mask
    names, colours = {1: wanted}, default_colours([1])
    write_segmentation(out / "prompt.seg.nrrd", prompt, grid, names, colours)

    settings = replace(settings, volume=out / "phantom.nrrd")
    outcome = run_with_progress(replace(settings, mask=out / "prompt.seg.nrrd"))
    print_summary(outcome)
    axis = "IJK"[geometry.axis]
    print(f"prompt: the {wanted}'s mask on {geometry.plane.value} slice {axis} "
          f"{geometry.ijk_from_stack((central, 0, 0))[geometry.axis]:.0f}")  # fmt: skip
    print(f"Dice from the mask:  {_dice(outcome.labels, truth):.3f} "
          f"in {outcome.timings.total_s:.1f} s")  # fmt: skip

    rows, cols = np.nonzero(mask)
    corners = ((central, rows.min(), cols.min()), (central, rows.max(), cols.max()))
    depth = ndimage.distance_transform_edt(mask, sampling=geometry.spacing[1:])
    deepest = (central, *np.unravel_index(np.argmax(depth), mask.shape))
    box = tuple(tuple(geometry.ijk_from_stack(corner)) for corner in corners)
    point = tuple(geometry.ijk_from_stack(deepest))
    for name, given in (("box", {"boxes": (box,)}), ("click", {"points": (point,)})):
        other = replace(
            settings, out=out / f"from-one-{name}.seg.nrrd", names=(wanted,),
            report=None, preview=out / f"from-one-{name}.png", **given,
        )  # fmt: skip
        found = run_with_progress(other)
        print(f"Dice from one {name + ':':6} {_dice(found.labels, truth):.3f} "
              f"in {found.timings.total_s:.1f} s")  # fmt: skip
    return outcome


def _write_phantom(out: Path, wanted: str) -> tuple[np.ndarray, Grid]:
    """The phantom and its reference segmentation as files; the structure's mask and the grid."""
    import SimpleITK as sitk

    from ..phantom import abdomen_phantom

    image, labels, spacing, names = abdomen_phantom()
    label = next((value for value, name in names.items() if name == wanted.lower()), None)
    if label is None:
        raise UserError(f"The phantom has no '{wanted}'; it has {', '.join(names.values())}.")
    grid = Grid(image.shape[::-1], np.diag([-spacing[0], -spacing[1], spacing[2], 1.0]))
    sitk.WriteImage(image_on(image, grid), str(out / "phantom.nrrd"), useCompression=True)
    write_segmentation(
        out / "reference.seg.nrrd", labels, grid, names, default_colours(names), "phantom.nrrd"
    )
    return labels == label, grid


def _dice(labels: np.ndarray, truth: np.ndarray) -> float:
    found = labels != 0
    return 2 * np.count_nonzero(found & truth) / (np.count_nonzero(found) + truth.sum())


def _render(outcome: SegmentOutcome, path: Path) -> None:
    """The 3D picture, where Slicer's displayable managers are installed and find a display."""
    try:
        from ..mrml.rendering import render_segmentation
    except ImportError:
        print("no 3D picture: trame-slicer is not installed")
        return
    try:
        render_segmentation(
            outcome.stack.volume, outcome.labels, outcome.names, outcome.colours, path
        )
    except UserError as error:
        print(f"no 3D picture: {error}")
