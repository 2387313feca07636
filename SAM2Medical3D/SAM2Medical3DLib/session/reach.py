"""Which slices a propagation has to compute, and from where.

Fixed slices (prompted or locked) divide the stack into stretches. What is given on a fixed slice
reaches the two stretches beside it and no further, so only stretches with stale slices are computed
again. A fixed slice on which the object is not (the user erased it there) is a wall: nothing starts
from it and nothing crosses it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..propagation import Direction, Span
from .object_state import ObjectState


@dataclass(frozen=True)
class Job:
    """Neighbouring stretches of one object, computed by one call of a propagator.

    Attributes:
        span: what may be written, and from which side it comes first.
        sources: the fixed slices that the propagator is given: all that no wall separates from the
            span. None at all: the object is absent there.
        stops_early: results come from one changed fixed slice outward over what was there before,
            so that the rest of the stretch is up to date as soon as they change nothing any more.
    """

    span: Span
    sources: tuple[int, ...]
    stops_early: bool = False

    def slices(self) -> range:
        """From the first to the last slice of the span."""
        return range(self.span.first, self.span.last + 1)


def plan(state: ObjectState, span: Span) -> list[Job]:
    """What to compute for an object, from the lowest slices up.

    Args:
        state: of the object.
        span: what the user allows to be written.

    Raises:
        UserError: if the span is outside the stack.
    """
    first, last = span.limits(state.n_slices)
    jobs: list[Job] = []
    merges = False  # the previous stretch goes on into this one
    for below, above in _stretches(state):
        low = max(first, 0 if below is None else below + 1)
        high = min(last, state.n_slices - 1 if above is None else above - 1)
        stale = any(s in state.stale for s in range(low, high + 1))
        job = _job(state, below, above, low, high, span.direction) if stale else None
        if job is None:
            merges = False
            continue
        if merges and not job.stops_early and job.sources == jobs[-1].sources:
            jobs[-1] = Job(Span(span.direction, jobs[-1].span.first, job.span.last), job.sources)
        else:
            jobs.append(job)
        merges = bool(job.sources) and not job.stops_early and above in job.sources
    return jobs


def _stretches(state: ObjectState) -> Iterator[tuple[int | None, int | None]]:
    bounds = [None, *sorted(state.fixed), None]
    yield from zip(bounds[:-1], bounds[1:], strict=True)


def _job(
    state: ObjectState,
    below: int | None,
    above: int | None,
    low: int,
    high: int,
    direction: Direction,
) -> Job | None:
    """One stretch; None where the direction does not lead into it."""
    starts = [s for s in (below, above) if s is not None and not state.fixed[s].is_wall]
    if not starts:
        return Job(Span(direction, low, high), ())
    outward = Direction.FORWARD if starts[0] == below else Direction.BACKWARD
    if len(starts) == 1 and direction not in (Direction.BOTH, outward):
        return None
    changed = [s for s in starts if s in state.changed]
    erased = any(low <= s <= high for s in state.changed)
    known = any(low <= s <= high and s in state.carried for s in state.stale)
    stops_early = known and len(changed) == 1 and not erased
    if stops_early:
        direction = Direction.FORWARD if changed[0] == below else Direction.BACKWARD
    return Job(Span(direction, low, high), _sources(state, starts), stops_early)


def _sources(state: ObjectState, starts: list[int]) -> tuple[int, ...]:
    """The fixed slices with the object that no wall separates from ``starts``."""
    ordered = sorted(state.fixed)
    first, last = ordered.index(starts[0]), ordered.index(starts[-1])
    while first > 0 and not state.fixed[ordered[first - 1]].is_wall:
        first -= 1
    while last + 1 < len(ordered) and not state.fixed[ordered[last + 1]].is_wall:
        last += 1
    return tuple(s for s in ordered[first : last + 1] if not state.fixed[s].is_wall)
