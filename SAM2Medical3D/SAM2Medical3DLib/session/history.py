"""Undo and redo of one object."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .object_state import ObjectState


@dataclass(frozen=True)
class Step:
    """One thing the user did: its number in the session, what to call it, the state before."""

    number: int
    title: str
    state: ObjectState


@dataclass(frozen=True)
class History:
    """The present state of an object and those around it in time.

    Attributes:
        state: now.
        undone, done: steps that can be taken again and taken back, the nearest last.
    """

    state: ObjectState
    done: tuple[Step, ...] = ()
    undone: tuple[Step, ...] = ()

    def then(self, number: int, title: str, state: ObjectState, limit: int) -> History:
        """After another step; what was undone before is gone, and what is ``limit`` steps old."""
        done = (*self.done, Step(number, title, self.state))
        return History(state, done[len(done) - min(limit, len(done)) :])

    def undo(self) -> History:
        """Before the last step."""
        step = self.done[-1]
        undone = (*self.undone, replace(step, state=self.state))
        return History(step.state, self.done[:-1], undone)

    def redo(self) -> History:
        """After the step that was undone last."""
        step = self.undone[-1]
        done = (*self.done, replace(step, state=self.state))
        return History(step.state, done, self.undone[:-1])
