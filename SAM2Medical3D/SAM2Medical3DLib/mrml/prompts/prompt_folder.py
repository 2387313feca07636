"""The one folder of the subject hierarchy that all prompts are kept in."""

from __future__ import annotations

import slicer

_NAME = "SAM2Medical3D prompts"
_ATTRIBUTE = "SAM2Medical3D.Prompts"  # finds the folder when the user has renamed it


def file_away(node: slicer.vtkMRMLMarkupsNode) -> None:
    """Put a node of a scene into the folder, which is made if it is not there."""
    hierarchy = _hierarchy(node.GetScene())
    folder = _find(hierarchy)
    if not folder:
        folder = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), _NAME)
        hierarchy.SetItemAttribute(folder, _ATTRIBUTE, "1")
        hierarchy.SetItemExpanded(folder, False)
    # Slicer has an item for the node already, which is moved; slicer-core by itself makes none.
    hierarchy.CreateItem(folder, node)


def remove_node(node: slicer.vtkMRMLMarkupsNode) -> None:
    """Take a node out of its scene with its display and file, and the folder if it is empty."""
    scene = node.GetScene()
    if scene is None:
        return
    hierarchy = _hierarchy(scene)
    item = hierarchy.GetItemByDataNode(node)
    if item:
        hierarchy.RemoveItem(item, False, False)
    belongings = [node.GetNthDisplayNode(n) for n in range(node.GetNumberOfDisplayNodes())]
    belongings += [node.GetNthStorageNode(n) for n in range(node.GetNumberOfStorageNodes())]
    scene.RemoveNode(node)
    for one in belongings:
        if one is not None and one.GetScene() is not None:
            scene.RemoveNode(one)
    remove_empty_folder(scene)


def remove_empty_folder(scene: slicer.vtkMRMLScene) -> None:
    """Take away the folder if there is nothing in it any more."""
    hierarchy = _hierarchy(scene)
    folder = _find(hierarchy)
    if folder and not hierarchy.GetNumberOfItemChildren(folder):
        hierarchy.RemoveItem(folder)


def _hierarchy(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLSubjectHierarchyNode:
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)


def _find(hierarchy: slicer.vtkMRMLSubjectHierarchyNode) -> int:
    """The folder's item, 0 if there is none."""
    items: list[int] = []
    hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), items, True)
    return next((item for item in items if hierarchy.HasItemAttribute(item, _ATTRIBUTE)), 0)
