"""The editing session of one volume along one axis, without a screen.

What a user can expect of it:

- A click, a box or a drawn mask on a slice *fixes* that slice: what is seen there after it stays
  until the user changes it, and propagation starts from it. A drawn mask comes back bit for bit.
- A click on a slice that has a mask already, propagated or drawn, corrects that mask.
- Propagation recomputes only what the new prompts reach: from each of them to the next fixed slice
  on either side, less where the results stop changing before it. Everything else keeps every voxel.
- A slice erased by hand says that the object is not there: nothing is carried across it.
- Clearing a slice brings back what propagation had left there.
- Every prompt and every propagation is one step of undo, for each object by itself or for all in
  the order of time.
- Objects do not touch each other: each has its own masks, which may overlap.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import UserError
from ..prompts import Box, Point, Prompts
from ..propagation import ObjectResult, Propagator, Span
from ..propagation.base import EVERYWHERE
from ..volume import SliceStack
from .history import History
from .object_state import FixedSlice, ObjectState, live_prompt
from .reach import plan
from .run import Found, Run
from .slice_mask import SliceMask, StoredSlice

_VERSION = 1


class EditingSession:
    """Prompts, live masks, propagation and undo for the objects of one stack.

    Not for use from several threads at once; a :class:`Run` may be iterated in another one, while
    which the session answers questions and refuses changes.

    Args:
        stack: the slices.
        propagator: the method with its model; may be replaced between runs.
        undo_steps: how many steps to keep for each object.
    """

    def __init__(self, stack: SliceStack, propagator: Propagator, undo_steps: int = 100) -> None:
        self.stack = stack
        self.propagator = propagator
        self._undo_steps = undo_steps
        self._objects: dict[int, History] = {}
        self._empty = ObjectState(len(stack))
        self._steps = 0
        self._running = False

    # What is there

    @property
    def objects(self) -> tuple[int, ...]:
        """Ids of all objects, in the order they came."""
        return tuple(self._objects)

    def state(self, object_id: int) -> ObjectState:
        """An object's state, which never changes; empty for an object that is not there yet."""
        history = self._objects.get(object_id)
        return self._empty if history is None else history.state

    def result(self, object_id: int, index: int) -> ObjectResult | None:
        """What an object shows on a slice, or None if nothing is known of it there."""
        state = self.state(object_id)
        found = state.result(self._slice(index))
        return None if found is None else found.result(index in state.fixed)

    def mask(self, object_id: int) -> np.ndarray:
        """(slice, row, column) bool; slices without a result are empty."""
        mask = np.zeros(self.stack.shape, bool)
        for index, found in self.state(object_id).results.items():
            mask[index] = found.mask.array()
        return mask

    def confidence(self, object_id: int) -> dict[int, float]:
        """Confidence, 0..1, of every slice with a result, ascending; 1 where the user drew."""
        return {s: found.confidence for s, found in self.state(object_id).results.items()}

    def next_doubtful(self, object_id: int, after: int, below: float = 0.7) -> int | None:
        """The next slice to look at: propagated, with a confidence under ``below``.

        Searched upwards from ``after``, then from the bottom; ``after`` itself comes last. None if
        there is none.
        """
        fixed, n = self.state(object_id).fixed, len(self.stack)
        doubtful = [
            s for s, c in self.confidence(object_id).items() if c < below and s not in fixed
        ]
        return min(doubtful, key=lambda s: (s - self._slice(after) - 1) % n, default=None)

    # What the user gives

    def adopt(self, object_id: int, masks: Mapping[int, np.ndarray]) -> None:
        """Begin with what the user drew before the session, {index: (H, W)}: no step, not undone.

        Raises:
            UserError: if the object has a step already.
        """
        if object_id in self._objects:
            raise UserError(f"Object {object_id} is under way; lock slices of it instead.")
        self._objects[object_id] = History(self._drawn(object_id, masks))

    def click(self, object_id: int, index: int, point: Point) -> ObjectResult:
        """Add a click; the other prompts of the slice stay. Returns the live result of the slice.

        Raises:
            UserError: outside the slice, or a negative click where there is nothing to correct.
        """
        fixed = self.state(object_id).fixed.get(index)
        if fixed is None or fixed.locked:
            return self.prompt(object_id, index, (point,))
        return self.prompt(object_id, index, (*fixed.points, point), fixed.box)

    def box(self, object_id: int, index: int, box: Box) -> ObjectResult:
        """Say anew where the object is: replaces the slice's box and its former mask, keeps its
        clicks. Returns the live result."""
        fixed = self.state(object_id).fixed.get(index)
        points = () if fixed is None else fixed.points
        return self._predict(object_id, index, points, box, None, "box")

    def prompt(
        self, object_id: int, index: int, points: Iterable[Point], box: Box | None = None
    ) -> ObjectResult | None:
        """Replace all clicks and the box of a slice, as after one was moved or deleted.

        They correct the mask that was there before the first of them. Nothing given clears the
        slice. Returns the live result.
        """
        points = tuple(points)
        if not points and box is None:
            return self.clear(object_id, index)
        state = self.state(object_id)
        fixed = state.fixed.get(index)
        corrects = None
        if fixed is None or fixed.locked:
            found = state.result(index)
            if box is None and found is not None and not found.mask.is_empty:
                corrects = found.mask
        elif fixed.box == box:
            corrects = fixed.corrects
        return self._predict(object_id, index, points, box, corrects, "click")

    def lock(self, object_id: int, index: int, mask: np.ndarray) -> ObjectResult:
        """Take a slice as the user drew it: (H, W), empty to say that the object is not there.

        Clicks and box of the slice go. Returns the result, which is the mask itself.
        """
        self.lock_slices(object_id, {index: mask})
        return self.state(object_id).fixed[index].result.result(prompted=True)

    def lock_slices(self, object_id: int, masks: Mapping[int, np.ndarray]) -> None:
        """Take several slices as the user drew them, {index: (H, W)}: one step of undo."""
        self._check_free()
        if masks:
            self._step("draw", {object_id: self._drawn(object_id, masks)})

    def clear(self, object_id: int, index: int) -> ObjectResult | None:
        """Take away all that was given on a slice. Returns what propagation had left there."""
        self._check_free()
        state = self.state(object_id)
        if self._slice(index) in state.fixed:
            self._step("clear", {object_id: state.without_fixed(index)})
        return self.result(object_id, index)

    def remove(self, object_id: int) -> None:
        """Empty an object of everything; can be undone."""
        self._check_free()
        state = self.state(object_id)
        if state.fixed or state.carried:
            self._step("remove", {object_id: self._empty})

    # Propagation

    def propagate(self, objects: Iterable[int] | None = None, span: Span = EVERYWHERE) -> Run:
        """Start to compute what is stale; see :class:`Run`, which does the work as it is iterated.

        Args:
            objects: which; None is all that have something to compute.
            span: direction and slices that may be written. Where the user limits a run, the other
                slices stay stale for the next one.

        Raises:
            UserError: no prompt, nothing found on any prompted slice, an impossible span.
        """
        self._check_free()
        chosen = self.objects if objects is None else tuple(objects)
        states = {object_id: self.state(object_id) for object_id in chosen}
        if objects is None:
            states = {o: s for o, s in states.items() if s.fixed}
        if not states:
            raise UserError("There is no prompt; click on the object on a slice first.")
        for object_id, state in states.items():
            if not state.fixed:
                raise UserError(f"Object {object_id} has no prompt; click on it on a slice first.")
            if all(fixed.is_wall for fixed in state.fixed.values()):
                raise UserError(
                    f"Nothing was found on the prompted slices of object {object_id}; click again "
                    "or draw it on a slice."
                )
        jobs = {object_id: plan(state, span) for object_id, state in states.items()}
        self._running = True
        return Run(self.stack, self.propagator, jobs, states, self._commit)

    @property
    def is_running(self) -> bool:
        """Whether a run is under way."""
        return self._running

    # Undo and redo

    def can_undo(self, object_id: int | None = None) -> bool:
        """Whether there is a step to take back, of one object or of any."""
        return bool(self._last("done", max, object_id))

    def can_redo(self, object_id: int | None = None) -> bool:
        """Whether there is a step to take again."""
        return bool(self._last("undone", min, object_id))

    def undo(self, object_id: int | None = None) -> tuple[int, ...]:
        """Take back the last step, of one object or of all. Returns the objects that changed."""
        self._check_free()
        touched = self._last("done", max, object_id)
        for one in touched:
            self._objects[one] = self._objects[one].undo()
        return touched

    def redo(self, object_id: int | None = None) -> tuple[int, ...]:
        """Take the last undone step again. Returns the objects that changed."""
        self._check_free()
        touched = self._last("undone", min, object_id)
        for one in touched:
            self._objects[one] = self._objects[one].redo()
        return touched

    # Saving

    def to_state(self) -> dict[str, Any]:
        """Everything but the steps of undo, as JSON values, to be saved in a scene."""
        return {
            "version": _VERSION,
            "shape": list(self.stack.shape),
            "plane": self.stack.plane.value,
            "objects": {str(o): h.state.to_plain() for o, h in self._objects.items()},
        }

    @classmethod
    def from_state(
        cls, saved: Mapping[str, Any] | str, stack: SliceStack, propagator: Propagator
    ) -> EditingSession:
        """A session as it was saved, from ``to_state`` or its JSON text.

        Raises:
            UserError: for another volume or axis, another version, or damaged text.
        """
        try:
            saved = json.loads(saved) if isinstance(saved, str) else saved
            version, shape, plane = saved["version"], tuple(saved["shape"]), saved["plane"]
            if version != _VERSION:
                raise UserError(
                    "The saved session is of another version of this program; start a new one."
                )
            if shape != tuple(stack.shape) or plane != stack.plane.value:
                raise UserError(
                    f"The saved session is of another volume ({plane}, {shape[0]} slices of "
                    f"{shape[1]}x{shape[2]}); open that one, or start a new session."
                )
            session = cls(stack, propagator)
            for object_id, plain in saved["objects"].items():
                state = ObjectState.from_plain(plain, shape)
                session._objects[int(object_id)] = History(state)
            return session
        except UserError:
            raise
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise UserError("The saved session is damaged; start a new one.") from error

    # Inside

    def _drawn(self, object_id: int, masks: Mapping[int, np.ndarray]) -> ObjectState:
        state = self.state(object_id)
        for index, mask in masks.items():
            drawn = SliceMask.of(mask)
            if drawn.shape != tuple(self.stack.shape[1:]):
                height, width = self.stack.shape[1:]
                raise UserError(
                    f"The mask on slice {index} has {drawn.shape[0]}x{drawn.shape[1]} pixels; the "
                    f"slice has {height}x{width}."
                )
            before = state.result(self._slice(index))
            view = None if before is None else before.view
            # An empty mask of the user's is as certain as a full one.
            score = 0.0 if drawn.is_empty else 1.0
            state = state.with_fixed(index, FixedSlice(StoredSlice(drawn, 1.0, score, view)))
        return state

    def _predict(
        self,
        object_id: int,
        index: int,
        points: tuple[Point, ...],
        box: Box | None,
        corrects: SliceMask | None,
        title: str,
    ) -> ObjectResult:
        self._check_free()
        state = self.state(object_id)
        prompts = Prompts.single(index, live_prompt(points, box, corrects), object_id)
        known = state.result(self._slice(index))
        views = {} if known is None or known.view is None else {object_id: known.view}
        found = self.propagator.predict_slice(self.stack, prompts, index, views=views)
        live = replace(found.objects[object_id], logits=None)
        fixed = FixedSlice(StoredSlice.of(live), points, box, corrects)
        self._step(title, {object_id: state.with_fixed(index, fixed)})
        return live

    def _commit(self, found: Mapping[int, Found] | None) -> None:
        self._running = False
        changed = {
            object_id: one.before.with_carried(one.slices, one.up_to_date)
            for object_id, one in (found or {}).items()
            if one.slices or one.up_to_date
        }
        if changed:
            self._step("propagate", changed)

    def _step(self, title: str, states: Mapping[int, ObjectState]) -> None:
        self._steps += 1
        for object_id, state in states.items():
            if object_id < 1:
                raise UserError(f"Object {object_id}: object ids are label values from 1 up.")
            history = self._objects.get(object_id) or History(self._empty)
            self._objects[object_id] = history.then(self._steps, title, state, self._undo_steps)

    def _last(self, which: str, choose: Any, object_id: int | None) -> tuple[int, ...]:
        """The objects of the step that is next to be undone or redone."""
        tops = {
            one: getattr(history, which)[-1].number
            for one, history in self._objects.items()
            if getattr(history, which) and object_id in (None, one)
        }
        return tuple(one for one, number in tops.items() if number == choose(tops.values()))

    def _slice(self, index: int) -> int:
        if not 0 <= index < len(self.stack):
            raise UserError(
                f"Slice {index} lies outside the volume (0 to {len(self.stack) - 1} along the "
                f"{self.stack.plane.value} axis)."
            )
        return int(index)

    def _check_free(self) -> None:
        if self._running:
            raise UserError("A propagation is under way; wait for its end or cancel it first.")
