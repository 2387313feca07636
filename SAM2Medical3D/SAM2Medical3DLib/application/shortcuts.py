"""Keys that work while the module is shown, said by the buttons and listed in the panel."""

from __future__ import annotations

from collections.abc import Callable

import qt
import slicer
from slicer.i18n import tr as _


class Shortcuts:
    """Window-wide keys.

    Args:
        commands: (key, the button that does the same or None, what to call).
        ui: the panel's named widgets; ``shortcutsLabel`` lists the keys.
    """

    def __init__(
        self, commands: list[tuple[str, object | None, Callable[[], None]]], ui: object
    ) -> None:
        self._shortcuts = []
        rows = []
        for key, button, act in commands:
            shortcut = qt.QShortcut(slicer.util.mainWindow())
            shortcut.setKey(qt.QKeySequence(key))
            shortcut.connect("activated()", _when_enabled(button, act))
            shortcut.setEnabled(False)
            self._shortcuts.append(shortcut)
            what = _("Leave the tool") if button is None else button.text
            rows.append(f"<tr><td><b>{key}</b>&nbsp;&nbsp;</td><td>{what}</td></tr>")
            if button is not None:
                button.setToolTip(f"{button.toolTip} ({key})")
        ui.shortcutsLabel.setText(f"<table>{''.join(rows)}</table>")

    def set_enabled(self, enabled: bool) -> None:
        """Whether the keys do anything."""
        for shortcut in self._shortcuts:
            shortcut.setEnabled(enabled)

    def close(self) -> None:
        """Take the keys away."""
        for shortcut in self._shortcuts:
            shortcut.setEnabled(False)
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._shortcuts = []


def _when_enabled(button: object | None, act: Callable[[], None]) -> Callable[[], None]:
    def call() -> None:
        if button is None or button.enabled:
            act()

    return call
