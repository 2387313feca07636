"""The line in the middle of the panel: what happened, what is under way, what can be done next."""

from __future__ import annotations

import time

import qt
from slicer.i18n import tr as _

_PATIENCE = 0.4  # seconds of work after which it is mentioned


class StatusLine:
    """Always there and two lines high, so that nothing jumps when a sentence comes or goes.

    Args:
        ui: the panel's named widgets.
    """

    def __init__(self, ui: object) -> None:
        self._ui = ui
        self._busy_since: float | None = None
        label = ui.statusLabel
        label.minimumHeight = 2 * label.fontMetrics().lineSpacing()
        style = label.style()
        side = style.pixelMetric(qt.QStyle.PM_SmallIconSize)
        self._information, self._warning = (
            style.standardIcon(kind).pixmap(side, side)
            for kind in (qt.QStyle.SP_MessageBoxInformation, qt.QStyle.SP_MessageBoxWarning)
        )
        self._shown: tuple[str, bool] | None = None

    def show_state(self, parameters: object | None, logic: object, said: str) -> None:
        """Choose the sentence: a message first, else what is under way, else what can be done.

        Args:
            parameters: the panel's choices.
            logic: the module's logic.
            said: a message of the panel itself, empty if there is none.
        """
        bench = logic.workbench
        text, is_problem = said, bool(said)
        if not text and bench is not None:
            text, is_problem = bench.message, bench.is_problem
        text = self._working(parameters, logic) or text or _hint(parameters, bench)
        if (text, is_problem) == self._shown:
            return
        self._shown = text, is_problem
        self._ui.statusLabel.text = text
        self._ui.statusIcon.setPixmap(self._warning if is_problem else self._information)

    def _working(self, parameters: object | None, logic: object) -> str:
        """What to wait for, once it takes long enough to be noticed."""
        bench = logic.workbench
        if (
            bench is None
            or not logic.worker.busy
            or bench.progress is not None
            and (bench.progress.done)
        ):
            self._busy_since = None
            return ""
        now = time.monotonic()
        self._busy_since = self._busy_since or now
        if now - self._busy_since < _PATIENCE:
            return ""
        if not logic.propagator(parameters).is_loaded:
            return _("Loading the model, which takes some seconds the first time…")
        return _("Working…")


def _hint(parameters: object | None, bench: object | None) -> str:
    if parameters is None or parameters.volume is None:
        return _("Load a CT or MR volume; the Sample Data module has a phantom to try.")
    if bench is not None and bench.is_running:
        return _("Slices fill in as they come; look around meanwhile.")
    if bench is not None and bench.tool() == "box":
        return _("Drag a box in a slice view, or click two of its corners. Esc leaves the tool.")
    if bench is not None and bench.tool() is not None:
        return _("Click in a slice view; the mask follows. Esc leaves the tool.")
    states = None if bench is None else bench.slice_states()
    if states is None or not (states.prompted.any() or states.locked.any()):
        return _("Go to the middle of the object, take a tool and click in any slice view.")
    if states.stale.any():
        return _("Correct this slice until it fits, then press Propagate.")
    return _("Look through the slices; correct with the tools, then press Propagate again.")
