"""Nodes of a scene by class."""

from __future__ import annotations

import slicer


def nodes_of_class(scene: slicer.vtkMRMLScene | None, class_name: str) -> list[slicer.vtkMRMLNode]:
    """All nodes of a class and its subclasses, in the order of the scene; none without a scene.

    ``GetNodesByClass`` would leave a collection behind with each call from Python.
    """
    if scene is None:
        return []
    count = scene.GetNumberOfNodesByClass(class_name)
    return [scene.GetNthNodeByClass(number, class_name) for number in range(count)]
