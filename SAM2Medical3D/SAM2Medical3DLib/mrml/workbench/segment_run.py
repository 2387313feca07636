"""A propagation of one segment: computed in the worker's thread, shown in the one that ticks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from ...propagation import Span
from ...session import EditingSession, StoredSlice
from ...session.worker import Ticket, Worker
from .segment_work import OBJECT, SegmentWork


@dataclass(frozen=True)
class Progress:
    """How far a propagation is.

    Attributes:
        done, total: slices.
        seconds: since the first slice came.
    """

    done: int = 0
    total: int = 0
    seconds: float = 0.0

    @property
    def seconds_left(self) -> float | None:
        """At the pace so far; None before there is one."""
        if self.done < 2 or not self.total:
            return None
        return self.seconds / (self.done - 1) * (self.total - self.done)


class SegmentRun:
    """One run, from its start to its end.

    Args:
        work: the segment.
        span: what may be written.
        worker: whose thread computes.
        changed: called after each slice.
        ended: called once, with what to say of the run or what went wrong.
    """

    def __init__(
        self,
        work: SegmentWork,
        span: Span,
        worker: Worker,
        changed: Callable[[], None],
        ended: Callable[[str | BaseException], None],
    ) -> None:
        self.work, self.progress = work, Progress()
        self._span, self._changed, self._ended = span, changed, ended
        self._keep = True
        work.prompts.set_editable(False)
        session = work.session
        self._ticket = worker.submit(
            lambda ticket: self._compute(ticket, session),
            done=self._end,
            failed=self._end,
            reported=self._came,
        )

    def cancel(self, keep: bool) -> None:
        """Stop after the slice under way; what has come is kept as a step, or discarded."""
        self._keep = keep
        self._ticket.cancel()

    def _compute(self, ticket: Ticket, session: EditingSession) -> str:
        run = session.propagate([OBJECT], self._span)
        if not run.total:
            run.close()
            return "Everything is up to date: no prompt has changed since the last propagation."
        started = first = time.perf_counter()
        for result in run:
            if run.done <= 1:
                first = time.perf_counter()
            progress = Progress(run.done, run.total, time.perf_counter() - first)
            ticket.report((result.index, StoredSlice.of(result.objects[OBJECT]), progress))
            if ticket.cancelled:
                run.close(keep=self._keep)
                kept = "are kept" if self._keep else "are discarded"
                return f"Cancelled; the {run.done} slices that had come {kept}."
        return f"{run.done} slices in {time.perf_counter() - started:.1f} s."

    def _came(self, what: tuple[int, StoredSlice, Progress]) -> None:
        index, found, self.progress = what
        if self._keep or not self._ticket.cancelled:
            self.work.come(index, found)
        self._changed()

    def _end(self, outcome: str | BaseException) -> None:
        self.work.prompts.set_editable(True)
        self.work.stepped()
        self._ended(outcome)
