"""The slice view that the user acted in last."""

from __future__ import annotations

import slicer

from .observers import Observers


class ActiveView:
    """Follows the mouse from view to view, by Slicer's crosshair node."""

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self._scene, self._id = scene, ""
        self._observers = Observers()
        self._crosshair = scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
        if self._crosshair is not None:
            moved = self._crosshair.CursorPositionModifiedEvent
            self._observers.add(self._crosshair, moved, self._moved)

    def close(self) -> None:
        """Stop following."""
        self._observers.clear()

    @property
    def node(self) -> slicer.vtkMRMLSliceNode | None:
        """The view that the mouse was over last; before that the first slice view."""
        found = self._scene.GetNodeByID(self._id) if self._id else None
        return found or self._scene.GetFirstNodeByClass("vtkMRMLSliceNode")

    def _moved(self) -> None:
        view = self._crosshair.GetCursorPositionXYZ([0.0, 0.0, 0.0])
        if view is not None:
            self._id = view.GetID()
