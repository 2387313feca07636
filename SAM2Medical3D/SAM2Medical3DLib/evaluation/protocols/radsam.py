"""Khlaut et al. 2025, "Segmenting 3D radiological images with a 2D promptable model" (RadSAM).

Their benchmark: one prompt on one slice per 3D object, and editing by rounds of clicks. As ours,
where no code is published: the prompted slice is the middle one of those that show the object, the
point is its deepest pixel, the box is tight, and the whole volume is searched.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...prompts import Prompts
from ...propagation import Propagator
from ..clicks import worst_error_click
from ..objects import ObjectCase
from .base import (
    PROMPT_KINDS,
    Options,
    Protocol,
    Round,
    Stopwatch,
    all_slices,
    collected,
    first_prompt,
)
from .editing import Editor


def single_prompt(
    propagator: Propagator, case: ObjectCase, kind: str, options: Options
) -> Iterator[Round]:
    """One point, box or mask."""
    prompt = first_prompt(case.truth[case.central], kind)
    prompts = Prompts.single(case.central, prompt)
    with Stopwatch() as watch:
        mask = collected(propagator, case.stack, prompts)
    yield Round(0, mask, prompts, len(prompt.points), 1, watch.seconds)


def edit(propagator: Propagator, case: ObjectCase, kind: str, options: Options) -> Iterator[Round]:
    """A first prompt, then a click at the deepest point of the worst 3D error in every round, and
    propagation again after each."""
    prompt = first_prompt(case.truth[case.central], options.start)
    clicks = len(prompt.points)
    watch = Stopwatch()
    with watch:
        editor = Editor(propagator, case.stack, case.central, prompt)
    yield Round(0, editor.mask, editor.prompts, clicks, 1, watch.seconds)
    for number in range(1, options.rounds + 1):
        click = worst_error_click(case.truth, editor.mask, case.stack.geometry.spacing)
        if click is not None:
            with watch:
                editor.click(click)
            clicks += 1
        interactions = 1 + clicks - len(prompt.points)
        yield Round(number, editor.mask, editor.prompts, clicks, interactions, watch.seconds)


_SOURCE = "Khlaut et al. 2025, Segmenting 3D radiological images with a 2D promptable model"

SINGLE_PROMPT = Protocol(
    name="radsam-single-prompt",
    title="One prompt on one slice",
    source=_SOURCE,
    kinds=PROMPT_KINDS,
    window="auto",
    show=all_slices,
    run=single_prompt,
)
EDIT = Protocol(
    name="radsam-edit",
    title="Corrective clicks in the worst 3D error",
    source=_SOURCE,
    kinds=("edit",),
    window="auto",
    show=all_slices,
    run=edit,
)
