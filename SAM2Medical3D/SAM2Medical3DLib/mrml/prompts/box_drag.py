"""Drawing a box by dragging from one corner to the opposite one.

Slicer takes a click for each corner of an ROI, and a drag for one click where it ends. So where the
button went down is noted, and becomes the other corner.
"""

from __future__ import annotations

import slicer
from vtkmodules.vtkCommonCore import vtkCommand
from vtkmodules.vtkCommonMath import vtkMatrix4x4
from vtkmodules.vtkRenderingCore import vtkRenderWindowInteractor

from .placing import placing_node, stop_placing

_A_DRAG = 8  # pixels; less is the shaking of a hand during a click


class BoxDrag:
    """Watches slice views for drags while an ROI is placed.

    Args:
        scene: the scene of the views.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self._scene = scene
        self._tags: list[tuple[vtkRenderWindowInteractor, int]] = []
        self._start: tuple[slicer.vtkMRMLSliceNode, tuple[float, float]] | None = None

    def watch(
        self, interactor: vtkRenderWindowInteractor, slice_node: slicer.vtkMRMLSliceNode
    ) -> None:
        """Note where the left button goes down in a slice view."""
        tag = interactor.AddObserver(
            vtkCommand.LeftButtonPressEvent, lambda *_: self._pressed(interactor, slice_node), 100.0
        )
        self._tags.append((interactor, tag))

    def close(self) -> None:
        """Watch no more."""
        for interactor, tag in self._tags:
            interactor.RemoveObserver(tag)
        self._tags.clear()
        self._start = None

    def finish(self) -> bool:
        """Complete a box of which a drag has placed one corner; to be called after events.

        Returns:
            Whether there was one.
        """
        roi = self._box_begun(corners=1)
        if roi is None or self._start is None:
            return False
        (slice_node, pressed), self._start = self._start, None
        to_ras = slice_node.GetXYToRAS()
        corner = to_ras.MultiplyPoint((*pressed, 0.0, 1.0))[:3]
        placed = [0.0, 0.0, 0.0]
        roi.GetNthControlPointPositionWorld(0, placed)
        inverse = vtkMatrix4x4()
        inverse.DeepCopy(to_ras)
        inverse.Invert()
        released = inverse.MultiplyPoint((*placed, 1.0))[:2]
        if max(abs(a - b) for a, b in zip(pressed, released, strict=True)) < _A_DRAG:
            return False
        stop_placing(self._scene)  # takes the preview of the second corner away
        roi.AddControlPointWorld(corner)
        return True

    def _pressed(
        self, interactor: vtkRenderWindowInteractor, slice_node: slicer.vtkMRMLSliceNode
    ) -> None:
        begun = self._box_begun(corners=0)
        self._start = None if begun is None else (slice_node, interactor.GetEventPosition())

    def _box_begun(self, corners: int) -> slicer.vtkMRMLMarkupsROINode | None:
        """The ROI that is being placed, if so many of its corners are."""
        node = placing_node(self._scene)
        if node is None or not node.IsA("vtkMRMLMarkupsROINode"):
            return None
        return node if node.GetNumberOfDefinedControlPoints() == corners else None
