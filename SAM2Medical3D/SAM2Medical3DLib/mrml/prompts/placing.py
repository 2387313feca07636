"""Slicer's place mode: the mouse places control points of a node."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import slicer


def start_placing(
    scene: slicer.vtkMRMLScene, node: slicer.vtkMRMLMarkupsNode, persistent: bool
) -> None:
    """Have the next clicks in any view place points of this node.

    Args:
        scene: the scene with the views.
        node: a markups node of the scene that is not complete yet.
        persistent: go on until :func:`stop_placing`. An ROI is placed once in any case: after it
            Slicer would begin another ROI by itself, which nobody knows of.
    """
    selection = _singleton(scene, "vtkMRMLSelectionNode")
    interaction = _singleton(scene, "vtkMRMLInteractionNode")
    selection.SetReferenceActivePlaceNodeClassName(node.GetClassName())
    selection.SetActivePlaceNodeID(node.GetID())
    if persistent and not node.IsA("vtkMRMLMarkupsROINode"):
        interaction.SwitchToPersistentPlaceMode()
    else:
        interaction.SwitchToSinglePlaceMode()


def stop_placing(scene: slicer.vtkMRMLScene) -> None:
    """Give the mouse back to the views; a point that is only previewed goes."""
    interaction = _find(scene, "vtkMRMLInteractionNode")
    if interaction is not None:
        interaction.SwitchToViewTransformMode()


def placing_node(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLMarkupsNode | None:
    """The node that is being placed, None if none is."""
    interaction = _find(scene, "vtkMRMLInteractionNode")
    selection = _find(scene, "vtkMRMLSelectionNode")
    if interaction is None or selection is None:
        return None
    if interaction.GetCurrentInteractionMode() != interaction.Place:
        return None
    node_id = selection.GetActivePlaceNodeID()
    node = scene.GetNodeByID(node_id) if node_id else None
    # Slicer places a new node when the class is another one.
    wanted = selection.GetActivePlaceNodeClassName()
    return node if node is not None and node.GetClassName() == wanted else None


@contextmanager
def same_target(scene: slicer.vtkMRMLScene) -> Iterator[None]:
    """Go on placing the same node while others are made.

    Slicer makes every new markups node the one that the next click places.
    """
    selection = _find(scene, "vtkMRMLSelectionNode")
    if selection is None:
        yield
        return
    class_name, node_id = selection.GetActivePlaceNodeClassName(), selection.GetActivePlaceNodeID()
    try:
        yield
    finally:
        if class_name:
            selection.SetReferenceActivePlaceNodeClassName(class_name)
            selection.SetActivePlaceNodeID(node_id)


def _find(scene: slicer.vtkMRMLScene, class_name: str) -> slicer.vtkMRMLNode | None:
    """The one node of a class, which an application has from its start."""
    return scene.GetSingletonNode("Singleton", class_name)


def _singleton(scene: slicer.vtkMRMLScene, class_name: str) -> slicer.vtkMRMLNode:
    """The one node of a class, which is made in a scene without an application."""
    node = _find(scene, class_name)
    if node is None:
        node = getattr(slicer, class_name)()
        node.SetSingletonTag("Singleton")
        node = scene.AddNode(node)
    return node
