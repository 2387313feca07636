"""A propagation under way: results as they come, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType

from ..prompts import Prompts, SlicePrompt
from ..propagation import Propagator, SliceResult
from ..volume import SliceStack
from .object_state import ObjectState
from .reach import Job
from .slice_mask import SliceMask, StoredSlice

# A run stops where this many slices in a row are as they were before: their Dice with what was
# there is at least _SAME. One alone may be chance, on a slice where two outlines cross.
_SAME_SLICES = 2
_SAME = 0.999


@dataclass(eq=False)
class Found:
    """What a run has for one object so far.

    Attributes:
        before: the object when the run began.
        slices: results, which hide those of ``before``.
        up_to_date: stale slices that are done with: computed, or found to need no computing.
    """

    before: ObjectState
    slices: dict[int, StoredSlice] = field(default_factory=dict)
    up_to_date: set[int] = field(default_factory=set)


class Run(Iterator[SliceResult]):
    """An iterator of results that changes the session only at its end.

    Run to its end it becomes one step of undo. ``close()`` stops it and keeps what is there, as one
    step too, the slices not reached staying stale; ``close(keep=False)`` leaves the session as it
    was, as does an error on the way. As a context manager it is closed, and kept, on leaving,
    unless by an exception.

    Results may be taken in another thread than the session's, one at a time.

    Attributes:
        done, total: slices of objects finished, and to be finished at most.
    """

    def __init__(
        self,
        stack: SliceStack,
        propagator: Propagator,
        jobs: Mapping[int, list[Job]],
        states: Mapping[int, ObjectState],
        commit: Callable[[Mapping[int, Found] | None], None],
    ) -> None:
        self._stack, self._propagator, self._commit = stack, propagator, commit
        self._found = {object_id: Found(states[object_id]) for object_id in jobs}
        self._open = True
        self._waiting = {
            object_id: {s for job in work for s in job.slices() if s in states[object_id].stale}
            for object_id, work in jobs.items()
        }
        self.done, self.total = 0, sum(len(w) for w in self._waiting.values())
        self._results = self._work(jobs)

    def __next__(self) -> SliceResult:
        if not self._open:
            raise StopIteration
        try:
            return next(self._results)
        except StopIteration:
            self._finish(keep=True)
            raise
        except BaseException:
            self._finish(keep=False)
            raise

    def close(self, keep: bool = True) -> None:
        """Stop. What is there is kept or forgotten; nothing happens if the run has ended."""
        if self._open:
            self._results.close()
            self._finish(keep)

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(keep=kind is None)

    def _finish(self, keep: bool) -> None:
        self._open = False
        self._commit(self._found if keep else None)

    def _work(self, jobs: Mapping[int, list[Job]]) -> Iterator[SliceResult]:
        # Objects with the same work go through the network together.
        together: dict[Job, list[int]] = {}
        for object_id, work in jobs.items():
            for job in work:
                together.setdefault(job, []).append(object_id)
        for job, objects in together.items():
            if job.sources:
                yield from self._propagate(job, objects)
            else:
                yield from self._absent(job, objects)

    def _absent(self, job: Job, objects: list[int]) -> Iterator[SliceResult]:
        """Between walls there is nothing."""
        nothing = StoredSlice(SliceMask(self._stack.shape[1:], (0, 0), (0, 0), b""), 1.0, 0.0)
        for index in job.slices():
            for object_id in objects:
                self._take(object_id, index, nothing)
            yield SliceResult(index, {o: nothing.result(False) for o in objects})

    def _propagate(self, job: Job, objects: list[int]) -> Iterator[SliceResult]:
        prompts, views = Prompts(), {}
        for object_id in objects:
            state = self._found[object_id].before
            for index in job.sources:
                known = state.fixed[index].result
                # What the user saw on a fixed slice is what goes out from it.
                prompts = prompts.add(object_id, index, SlicePrompt(mask=known.mask.array()))
                views.setdefault(object_id, known.view)
                if index in state.changed and job.stops_early:
                    views[object_id] = known.view
        views = {object_id: view for object_id, view in views.items() if view is not None}
        same = dict.fromkeys(objects, 0)
        taken: dict[int, set[int]] = {object_id: set() for object_id in objects}
        results = self._propagator.propagate(self._stack, prompts, job.span, views=views)
        try:
            for result in results:
                shown = {}
                for object_id, found in result.objects.items():
                    state = self._found[object_id].before
                    if result.index in state.fixed or same[object_id] >= _SAME_SLICES:
                        continue
                    if result.index in taken[object_id]:
                        # The method starts over, having looked too narrowly.
                        self._forget(object_id, taken[object_id])
                        same[object_id] = 0
                    taken[object_id].add(result.index)
                    stored = StoredSlice.of(found)
                    if job.stops_early and result.index in state.stale:
                        before = state.carried.get(result.index)
                        same[object_id] = same[object_id] + 1 if _same(before, stored) else 0
                    self._take(object_id, result.index, stored)
                    shown[object_id] = found
                if shown:
                    yield SliceResult(result.index, shown)
                if min(same.values()) >= _SAME_SLICES:
                    break
        finally:
            results.close()
        for object_id in objects:
            self._tick(object_id, job.slices())

    def _take(self, object_id: int, index: int, stored: StoredSlice) -> None:
        self._found[object_id].slices[index] = stored
        self._tick(object_id, [index])

    def _forget(self, object_id: int, slices: set[int]) -> None:
        """Take back results of a job that starts over."""
        found = self._found[object_id]
        for index in slices:
            del found.slices[index]
        again = slices & found.up_to_date
        found.up_to_date -= again
        self._waiting[object_id] |= again
        self.done -= len(again)
        slices.clear()

    def _tick(self, object_id: int, slices: range | list[int]) -> None:
        finished = self._waiting[object_id].intersection(slices)
        self._waiting[object_id] -= finished
        self._found[object_id].up_to_date |= finished
        self.done += len(finished)


def _same(before: StoredSlice | None, now: StoredSlice) -> bool:
    if before is None:
        return False
    if before.mask == now.mask:
        return True
    if before.mask.is_empty or now.mask.is_empty:
        return False
    one, other = before.mask.array(), now.mask.array()
    return 2 * (one & other).sum() >= _SAME * (one.sum() + other.sum())
