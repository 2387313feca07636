"""Shen, Li, Shi, Wang 2024, "Interactive 3D Medical Image Segmentation with SAM 2".

After the authors' published code (nii_2_video.py and the two notebooks of
github.com/Chuyun-Shen/SAM_2_Medical_3D): axial slices are frames, each stretched to 8 bit by its
own minimum and maximum; the middle frame is prompted; SAM 2 goes forward, then backward.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from ...prompts import Point, Prompts, SlicePrompt
from ...propagation import Propagator
from ..clicks import next_click
from ..objects import ObjectCase, Skipped, middle_of
from .base import Options, Protocol, Round, Stopwatch, collected

SALIENT_PIXELS = 256
_MARGIN = (5, 9)  # slices, both included


def frames(case: ObjectCase, options: Options) -> ObjectCase:
    """The published part of the volume, and its middle frame as the prompted one.

    Without a threshold: from the first to the last slice with foreground and 5 to 9 slices more at
    either end, drawn from the seed and the object's name. Salient area: from the first to the last
    slice with more than 256 foreground pixels. (The published script draws 5 to 9 too, but its
    range leaves out the last slice; here it is included.)

    Raises:
        Skipped: no slice has more than 256 pixels, or only one has.
    """
    last_slice = len(case.stack) - 1
    if options.salient:
        found = np.flatnonzero(case.truth.sum((1, 2)) > SALIENT_PIXELS)
        if not found.size:
            raise Skipped(f"{case.title}: no slice has more than {SALIENT_PIXELS} pixels of it.")
        first, last = int(found[0]), int(found[-1])
    else:
        below, above = _margins(case, options.seed)
        first, last = max(0, case.shown[0] - below), min(last_slice, case.shown[-1] + above)
    middle = middle_of(np.arange(first, last + 1), case.stack.geometry)
    # Where an object skips the middle frame there is no mask to prompt with: the nearest one is.
    shown = case.shown[(case.shown >= first) & (case.shown <= last)]
    prompted = int(shown[np.argmin(np.abs(shown - middle))])
    return case.part(int(first), int(last), prompted)


def one_mask(
    propagator: Propagator, case: ObjectCase, kind: str, options: Options
) -> Iterator[Round]:
    """The reference mask of the middle frame is the prompt."""
    prompts = Prompts.single(case.central, SlicePrompt(mask=case.truth[case.central]))
    with Stopwatch() as watch:
        mask = collected(propagator, case.stack, prompts)
    yield Round(0, mask, prompts, 0, 1, watch.seconds)


def clicks(
    propagator: Propagator, case: ObjectCase, kind: str, options: Options
) -> Iterator[Round]:
    """One new click a round on the middle frame; after each, what propagation makes of them.

    The published result is that of the last round. Where no error is deep enough for another
    click, the result stays.
    """
    truth = case.truth[case.central]
    points: tuple[Point, ...] = ()
    shown = np.zeros_like(truth)
    watch = Stopwatch()
    mask = np.zeros(case.truth.shape, bool)
    prompts = Prompts()
    for number in range(1, options.clicks + 1):
        click = next_click(truth, shown)
        if click is None and not points:
            raise Skipped(
                f"{case.title}: nowhere on the middle frame is it deep enough for a click."
            )
        if click is not None:
            points = (*points, click)
            prompts = Prompts.single(case.central, SlicePrompt(points))
            with watch:
                shown = propagator.predict_slice(case.stack, prompts, case.central).objects[1].mask
                mask = collected(propagator, case.stack, prompts)
        yield Round(number, mask, prompts, len(points), len(points), watch.seconds)


def _margins(case: ObjectCase, seed: int) -> list[int]:
    text = f"{seed}/{case.dataset}/{case.case}/{case.name}"
    digest = hashlib.sha256(text.encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    return rng.integers(_MARGIN[0], _MARGIN[1] + 1, 2).tolist()


_SOURCE = "Shen, Li, Shi, Wang 2024, Interactive 3D Medical Image Segmentation with SAM 2"

ONE_MASK = Protocol(
    name="shen2024-1mask",
    title="Reference mask of the middle frame",
    source=_SOURCE,
    kinds=("mask",),
    window="per-slice",
    show=frames,
    run=one_mask,
    has_salient_area=True,
)
FIVE_CLICKS = Protocol(
    name="shen2024-5clicks",
    title="Simulated clicks on the middle frame, one a round",
    source=_SOURCE,
    kinds=("clicks",),
    window="per-slice",
    show=frames,
    run=clicks,
    has_salient_area=True,
)
