"""VTK observers that are taken away together."""

from __future__ import annotations

from collections.abc import Callable

import slicer


class Observers:
    """Callbacks on VTK objects. Nothing is left behind after :meth:`clear`."""

    def __init__(self) -> None:
        self._tags: list[tuple[slicer.vtkMRMLNode, int]] = []

    def add(
        self, observed: slicer.vtkMRMLNode, events: int | tuple, callback: Callable[[], None]
    ) -> None:
        """Call ``callback()`` after each of these events."""
        for event in events if isinstance(events, tuple) else (events,):
            tag = observed.AddObserver(event, lambda *_: callback())
            self._tags.append((observed, tag))

    def drop(self, observed: slicer.vtkMRMLNode) -> None:
        """Take away all callbacks on one object."""
        for one, tag in self._tags:
            if one is observed:
                one.RemoveObserver(tag)
        self._tags = [(one, tag) for one, tag in self._tags if one is not observed]

    def clear(self) -> None:
        """Take away all."""
        for observed, tag in self._tags:
            observed.RemoveObserver(tag)
        self._tags.clear()
