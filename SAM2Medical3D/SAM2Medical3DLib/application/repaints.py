"""Keeps the window lively while slices come in."""

from __future__ import annotations

import sys

import slicer

_FIRST_MS, _STEP_MS = 15, 50  # after a change; software rendering of one view takes some 40 ms
_SWITCH_S = 0.001  # how long the window may wait for the interpreter while the worker has it


class Repaints:
    """During a run, views are drawn one after another, with the event loop's turn between them.

    A written slice changes all views at the same time. Drawn without a pause, as is usual, they
    would hold the event loop for as long as all of them take.
    """

    def __init__(self) -> None:
        self._rates: list[tuple[object, float]] = []
        self._switch_s: float | None = None

    def set_gentle(self, gentle: bool) -> None:
        """Begin or end it; nothing happens if it is so already."""
        if gentle == (self._switch_s is not None):
            return
        if gentle:
            self._switch_s = sys.getswitchinterval()
            sys.setswitchinterval(min(self._switch_s, _SWITCH_S))
            self._rates = [(view, view.maximumUpdateRate) for view in _views()]
            for number, (view, _) in enumerate(self._rates):
                view.maximumUpdateRate = 1000.0 / (_FIRST_MS + number * _STEP_MS)
            return
        for view, rate in self._rates:
            view.maximumUpdateRate = rate
        sys.setswitchinterval(self._switch_s)
        self._rates, self._switch_s = [], None


def _views() -> list[object]:
    layout = slicer.app.layoutManager()
    if layout is None:
        return []
    found = [layout.sliceWidget(name).sliceView() for name in layout.sliceViewNames()]
    found += [layout.threeDWidget(n).threeDView() for n in range(layout.threeDViewCount)]
    return [view for view in found if view.visible]
