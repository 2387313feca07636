"""The strip of all slices under the Review heading: how far to trust each, and where one is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import qt
from slicer.i18n import tr as _

from ..mrml.workbench import SliceStates

# Distinct for colour-blind eyes and on light and dark panels; height tells confidence as well.
_DOUBTFUL, _FAIR, _GOOD, _ABSENT = (213, 94, 0), (230, 159, 0), (0, 114, 178), (128, 128, 128)
_SURE = 0.7
_STALE = 90  # alpha of what is to be computed again
_LINE = 3  # pixels that stand for a slice which surely does not have the object


class ConfidenceStrip(qt.QWidget):
    """A bar for every slice, from the lowest on the left; a click goes there.

    A drawn (locked) slice has a square under its bar, a prompted one a smaller one. Pale bars are
    out of date. A thin line stands for slices without the object, unless that is doubtful.

    Args:
        go_to: called with the slice that was clicked.
        parent: widget.
    """

    def __init__(self, go_to: Callable[[int], None], parent: qt.QWidget | None = None) -> None:
        qt.QWidget.__init__(self, parent)
        self._go_to = go_to
        self._states: SliceStates | None = None
        self._here: int | None = None
        self.setMinimumHeight(44)
        self.setSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Fixed)
        self.setMouseTracking(True)
        self.setAccessibleName(_("Confidence of slices"))

    def show_states(self, states: SliceStates | None, here: int | None) -> None:
        """What to draw: all slices, and the one that is in view."""
        self._states, self._here = states, here
        self.update()

    def slice_at(self, x: float) -> int | None:
        """The slice under a horizontal position, in pixels."""
        if self._states is None:
            return None
        n = len(self._states.confidence)
        return int(np.clip(x * n // max(1, self.width), 0, n - 1))

    def paintEvent(self, event: object) -> None:
        painter = qt.QPainter(self)
        width, height = self.width, self.height
        bar = height - 10
        painter.fillRect(0, 0, width, bar, self.palette.color(qt.QPalette.Base))
        if self._states is not None:
            states, n = self._states, len(self._states.confidence)
            for index in range(n):
                left = index * width // n
                span = max(1, (index + 1) * width // n - left - (1 if width > 4 * n else 0))
                value = states.confidence[index]
                if not np.isnan(value):
                    is_absent = states.empty[index] and value >= _SURE
                    tall = _LINE if is_absent else max(_LINE, int(round(value * bar)))
                    colour = qt.QColor(*(_ABSENT if is_absent else _colour(value)))
                    colour.setAlpha(_STALE if states.stale[index] else 255)
                    painter.fillRect(left, bar - tall, span, tall, colour)
                if states.locked[index] or states.prompted[index]:
                    ink = self.palette.color(qt.QPalette.WindowText)
                    side = 6 if states.locked[index] else 4
                    middle = left + span // 2
                    painter.fillRect(middle - side // 2, bar + 2, side, side, ink)
            if self._here is not None:
                left = self._here * width // n
                span = max(2, (self._here + 1) * width // n - left)
                painter.setPen(self.palette.color(qt.QPalette.Highlight))
                painter.drawRect(left - 1, 0, span + 1, bar - 1)
        painter.end()

    def mousePressEvent(self, event: object) -> None:
        self._go(event)

    def mouseMoveEvent(self, event: object) -> None:
        if event.buttons():
            self._go(event)
            return
        index = self.slice_at(event.pos().x())
        if index is None:
            return
        self.setToolTip(self._described(index))

    def _described(self, index: int) -> str:
        states = self._states
        lines = [_("Slice {index}").format(index=index)]
        if not np.isnan(states.confidence[index]):
            percent = f"{states.confidence[index]:.0%}"
            lines[0] += _(": confidence {percent}").format(percent=percent)
        if states.locked[index]:
            lines.append(_("drawn by hand, locked"))
        elif states.prompted[index]:
            lines.append(_("with prompts"))
        elif states.empty[index]:
            lines.append(_("without the object"))
        if states.stale[index]:
            lines.append(_("to be computed again"))
        return "\n".join(lines)

    def _go(self, event: object) -> None:
        index = self.slice_at(event.pos().x())
        if index is not None:
            self._go_to(index)


def _colour(confidence: float) -> tuple[int, int, int]:
    return _DOUBTFUL if confidence < _SURE else _FAIR if confidence < 0.85 else _GOOD
