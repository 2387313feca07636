"""Editing sessions in the scene, so that work goes on after a scene was saved and opened again.

One text node for each pair of volume and segmentation, kept out of sight, with the state of every
segment's session as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import slicer

from ...session import ObjectState
from ..nodes import nodes_of_class
from .segment_work import SegmentWork

_ATTRIBUTE = "SAM2Medical3D.Sessions"
_VERSION = 1


class SavedSessions:
    """What the scene keeps for one volume and one segmentation."""

    def __init__(
        self,
        volume_node: slicer.vtkMRMLScalarVolumeNode,
        segmentation_node: slicer.vtkMRMLSegmentationNode,
    ) -> None:
        self._volume_node, self._segmentation_node = volume_node, segmentation_node
        self._written: dict[str, tuple[ObjectState, str]] = {}

    def read(self) -> dict[str, Any]:
        """{segment id: what ``EditingSession.to_state`` gave}; empty if there is nothing.

        What cannot be read counts as nothing: the segments themselves are there all the same.
        """
        node = self._node()
        try:
            saved = json.loads(node.GetText() or "") if node is not None else {}
            return dict(saved["segments"]) if saved.get("version") == _VERSION else {}
        except (ValueError, TypeError, KeyError, AttributeError):
            return {}

    def write(self, works: Mapping[str, SegmentWork]) -> None:
        """Keep the sessions of these segments, {segment id: work}, where they have changed."""
        states = {id_: work.state for id_, work in works.items() if work.state is not None}
        if {id_: state for id_, (state, _) in self._written.items()} == states:
            return
        for id_, state in states.items():
            if id_ not in self._written or self._written[id_][0] is not state:
                self._written[id_] = (state, json.dumps(works[id_].session.to_state()))
        self._written = {id_: self._written[id_] for id_ in states}
        node = self._node()
        if not states:
            if node is not None:
                node.GetScene().RemoveNode(node)
            return
        parts = (f"{json.dumps(id_)}:{text}" for id_, (_, text) in self._written.items())
        text = f'{{"version":{_VERSION},"segments":{{{",".join(parts)}}}}}'
        (self._new_node() if node is None else node).SetText(text)

    def _new_node(self) -> slicer.vtkMRMLTextNode:
        scene = self._segmentation_node.GetScene()
        node = scene.AddNewNodeByClass("vtkMRMLTextNode", "SAM2Medical3D sessions")
        node.SetAttribute(_ATTRIBUTE, "1")
        node.SetHideFromEditors(True)
        # Kept in the scene file itself, or a scene that was moved would miss it.
        node.SetForceCreateStorageNode(node.CreateStorageNodeNever)
        node.SetNodeReferenceID("volume", self._volume_node.GetID())
        node.SetNodeReferenceID("segmentation", self._segmentation_node.GetID())
        return node

    def _node(self) -> slicer.vtkMRMLTextNode | None:
        scene = self._segmentation_node.GetScene()
        for node in nodes_of_class(scene, "vtkMRMLTextNode"):
            if (
                node.GetAttribute(_ATTRIBUTE)
                and node.GetNodeReferenceID("volume") == self._volume_node.GetID()
                and node.GetNodeReferenceID("segmentation") == self._segmentation_node.GetID()
            ):
                return node
        return None
