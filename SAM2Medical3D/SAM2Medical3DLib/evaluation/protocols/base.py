"""What a protocol is: which slices are shown, what a simulated user gives, what is reported."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from ...prompts import Prompts, SlicePrompt
from ...propagation import Propagator, collect
from ...volume import SliceStack
from ..clicks import deepest_pixel, next_click, tight_box
from ..objects import ObjectCase

PROMPT_KINDS = ("point", "box", "mask")


@dataclass(frozen=True)
class Options:
    """What a user may choose about a protocol.

    Attributes:
        clicks: rounds of ``shen2024-5clicks``, 1 to 10.
        rounds: rounds of corrections of ``radsam-edit``.
        start: first prompt of ``radsam-edit``: point, box or mask.
        salient: only the salient area (protocols of Shen et al. 2024).
        window: intensities shown to the model; None takes what the protocol says.
        seed: of everything that is drawn at random.
    """

    clicks: int = 5
    rounds: int = 5
    start: str = "box"
    salient: bool = False
    window: str | None = None
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Round:
    """A result that a simulated user sees.

    Attributes:
        number: 0 for the first one, or the number of clicks asked for.
        mask: (slice, row, column) bool on the slices shown.
        prompts: all that was given so far.
        clicks: how many of it are clicks.
        interactions: acts of the user: a mask, a box and a click are one each.
        seconds: that the method worked since the first prompt.
    """

    number: int
    mask: np.ndarray
    prompts: Prompts
    clicks: int
    interactions: int
    seconds: float


@dataclass(frozen=True)
class Protocol:
    """A way to evaluate.

    Attributes:
        name, title, source: as typed, as shown, and the paper with its section.
        kinds: prompts that it is run with, one result each.
        window: intensities that it shows to the model.
        has_salient_area: it can be limited to the salient area.
        show: the object on the slices that are shown; raises ``Skipped`` where there are none.
        run: the rounds for one kind of prompt.
    """

    name: str
    title: str
    source: str
    kinds: tuple[str, ...]
    window: str
    show: Callable[[ObjectCase, Options], ObjectCase]
    run: Callable[[Propagator, ObjectCase, str, Options], Iterator[Round]]
    has_salient_area: bool = False

    def prepare(self, case: ObjectCase, options: Options) -> ObjectCase:
        """The object on the slices and with the intensities that the protocol shows."""
        return self.show(case.windowed(options.window or self.window), options)


@dataclass
class Stopwatch:
    """Adds up the seconds that a method works, without those of the simulated user."""

    seconds: float = field(default=0.0)

    def __enter__(self) -> Stopwatch:
        self._begun = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._begun


def all_slices(case: ObjectCase, options: Options) -> ObjectCase:
    """The whole volume; the middle one of the object's slices is prompted."""
    return case


def first_prompt(truth: np.ndarray, kind: str) -> SlicePrompt:
    """What a simulated user gives on a slice: its deepest point, its tight box, or its mask.

    Where the object is too thin for the click rule, its deepest pixel is clicked all the same.
    """
    if kind == "mask":
        return SlicePrompt(mask=truth)
    if kind == "box":
        return SlicePrompt(box=tight_box(truth))
    return SlicePrompt((next_click(truth, np.zeros_like(truth)) or deepest_pixel(truth),))


def collected(propagator: Propagator, stack: SliceStack, prompts: Prompts) -> np.ndarray:
    """The propagated mask of object 1, (slice, row, column) bool."""
    found = collect(propagator.propagate(stack, prompts), stack.geometry)
    return found.get(1, np.zeros(stack.shape, bool))
