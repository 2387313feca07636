"""All that is known of one object at one moment; never changed, only replaced.

States share the slices that are the same in them, so a step of undo costs what it changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..prompts import Box, Point, SlicePrompt
from .slice_mask import SliceMask, StoredSlice


@dataclass(frozen=True, eq=False)
class FixedSlice:
    """A slice that the user prompted or drew. Propagation starts from it and never changes it.

    Attributes:
        result: the live mask of the prompts, or what the user drew.
        points, box: the prompts; neither where the slice is locked.
        corrects: the mask that was there before the points, which they correct; None where they
            stand for themselves.
    """

    result: StoredSlice
    points: tuple[Point, ...] = ()
    box: Box | None = None
    corrects: SliceMask | None = None

    @property
    def locked(self) -> bool:
        """Whether the user drew the mask, which comes back bit for bit."""
        return not self.points and self.box is None

    @property
    def is_wall(self) -> bool:
        """Whether the object is not on this slice: propagation stops here."""
        return self.result.mask.is_empty


def live_prompt(
    points: Iterable[Point], box: Box | None, corrects: SliceMask | None
) -> SlicePrompt:
    """Points and box as the prompt that predicts the live mask.

    Raises:
        UserError: nothing given, or only negative points and nothing that they correct.
    """
    if corrects is None:
        return SlicePrompt(tuple(points), box)
    return SlicePrompt.correcting(corrects.array(), points, box)


@dataclass(frozen=True, eq=False)
class ObjectState:
    """One object at one moment.

    Attributes:
        n_slices: of the stack.
        fixed: by slice, what the user gave.
        carried: by slice, what propagation left; on a fixed slice it is hidden until that is
            cleared.
        stale: slices whose result no longer follows from the fixed ones, or never has.
        changed: slices where something was given or taken away since the slices around them were
            last computed.
    """

    n_slices: int
    fixed: Mapping[int, FixedSlice] = field(default_factory=dict)
    carried: Mapping[int, StoredSlice] = field(default_factory=dict)
    stale: frozenset[int] = frozenset()
    changed: frozenset[int] = frozenset()

    def result(self, index: int) -> StoredSlice | None:
        """What is shown on a slice; None if nothing is known of it."""
        fixed = self.fixed.get(index)
        return self.carried.get(index) if fixed is None else fixed.result

    @property
    def results(self) -> dict[int, StoredSlice]:
        """What is shown, by ascending slice."""
        both = self.carried | {index: fixed.result for index, fixed in self.fixed.items()}
        return dict(sorted(both.items()))

    def around(self, index: int) -> tuple[int | None, int | None]:
        """The nearest fixed slices below and above."""
        below = max((s for s in self.fixed if s < index), default=None)
        return below, min((s for s in self.fixed if s > index), default=None)

    def with_fixed(self, index: int, fixed: FixedSlice) -> ObjectState:
        """With this given on a slice; what it reaches becomes stale unless the mask is the same."""
        before = self.fixed.get(index)
        changed = replace(self, fixed={**self.fixed, index: fixed}, stale=self.stale - {index})
        if before is not None and before.result.mask == fixed.result.mask:
            return changed
        return changed._touched(index)

    def without_fixed(self, index: int) -> ObjectState:
        """With nothing given on a slice any more."""
        fixed = {s: f for s, f in self.fixed.items() if s != index}
        return replace(self, fixed=fixed)._touched(index)

    def with_carried(
        self, found: Mapping[int, StoredSlice], up_to_date: Iterable[int]
    ) -> ObjectState:
        """With results of a propagation, after which some slices are no longer stale."""
        found = {s: one for s, one in found.items() if s not in self.fixed}
        stale = self.stale - set(up_to_date)
        state = replace(self, carried={**self.carried, **found}, stale=stale)
        # A change is done with when nothing around it waits any more.
        waiting = {s for s in self.changed if stale.intersection(state._reach(s))}
        return replace(state, changed=frozenset(waiting))

    def _touched(self, index: int) -> ObjectState:
        stale = self.stale | set(self._reach(index))
        return replace(self, stale=frozenset(stale), changed=self.changed | {index})

    def _reach(self, index: int) -> list[int]:
        """The slices between the fixed ones on either side, without those."""
        below, above = self.around(index)
        first = 0 if below is None else below + 1
        last = self.n_slices if above is None else above
        return [s for s in range(first, last) if s not in self.fixed]

    def to_plain(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "fixed": {
                str(index): {
                    "result": fixed.result.to_plain(),
                    "points": [[p.row, p.col, p.positive] for p in fixed.points],
                    "box": fixed.box and [*vars(fixed.box).values()],
                    "corrects": fixed.corrects and fixed.corrects.to_plain(),
                }
                for index, fixed in sorted(self.fixed.items())
            },
            "carried": {str(s): one.to_plain() for s, one in sorted(self.carried.items())},
            "stale": sorted(self.stale),
            "changed": sorted(self.changed),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], shape: tuple[int, int, int]) -> ObjectState:
        """From what ``to_plain`` gave, for a stack of this shape.

        Raises:
            ValueError, TypeError, KeyError, IndexError, AttributeError: if it is anything else.
        """
        n_slices, size = shape[0], shape[1:]

        def index_of(value: str | int) -> int:
            if not 0 <= int(value) < n_slices:
                raise ValueError("a slice is outside the volume")
            return int(value)

        fixed = {}
        for index, one in plain["fixed"].items():
            corrects = one["corrects"]
            fixed[index_of(index)] = FixedSlice(
                StoredSlice.from_plain(one["result"], size),
                tuple(Point(float(r), float(c), bool(p)) for r, c, p in one["points"]),
                None if one["box"] is None else Box(*one["box"]),
                None if corrects is None else SliceMask.from_plain(corrects, size),
            )
        carried = {
            index_of(s): StoredSlice.from_plain(v, size) for s, v in plain["carried"].items()
        }
        stale, changed = (
            frozenset(index_of(s) for s in plain[name]) for name in ("stale", "changed")
        )
        return cls(n_slices, fixed, carried, stale - fixed.keys(), changed)
