"""A simulated user of an editing session, with any propagation method."""

from __future__ import annotations

import numpy as np

from ...prompts import Prompts, SlicePrompt
from ...propagation import Propagator
from ...session import EditingSession, FixedSlice
from ...session.object_state import live_prompt
from ...volume import SliceStack
from ..clicks import CorrectiveClick

_OBJECT = 1


class Editor:
    """One object that is prompted on a slice, propagated, and corrected by clicks.

    As in the panel, a click corrects what its slice shows, fixes the slice, and propagation then
    recomputes only what the click reaches.

    Attributes:
        mask: (slice, row, column) bool, what the user sees.
    """

    def __init__(
        self, propagator: Propagator, stack: SliceStack, index: int, prompt: SlicePrompt
    ) -> None:
        self._session = EditingSession(stack, propagator, undo_steps=1)
        if prompt.mask is not None:
            self._session.lock(_OBJECT, index, prompt.mask)
        else:
            self._session.prompt(_OBJECT, index, prompt.points, prompt.box)
        self.mask = self._propagated()

    def click(self, click: CorrectiveClick) -> None:
        """Correct a slice and propagate."""
        self._session.click(_OBJECT, click.slice, click.point)
        self.mask = self._propagated()

    @property
    def prompts(self) -> Prompts:
        """All that was given."""
        prompts = Prompts()
        for index, fixed in self._session.state(_OBJECT).fixed.items():
            prompts = prompts.add(_OBJECT, index, _given(fixed))
        return prompts

    def _propagated(self) -> np.ndarray:
        # Where the model found nothing on any prompted slice there is nothing to propagate yet.
        if not all(fixed.is_wall for fixed in self._session.state(_OBJECT).fixed.values()):
            for _ in self._session.propagate([_OBJECT]):
                pass
        return self._session.mask(_OBJECT)


def _given(fixed: FixedSlice) -> SlicePrompt:
    if fixed.locked:
        return SlicePrompt(mask=fixed.result.mask.array())
    return live_prompt(fixed.points, fixed.box, fixed.corrects)
