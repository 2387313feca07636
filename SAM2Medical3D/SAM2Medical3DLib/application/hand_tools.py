"""Slicer's own Segment Editor in the panel, on the segment that is worked on."""

from __future__ import annotations

from collections.abc import Callable

import slicer
import vtk

from ..mrml.observers import Observers

_TAG = "SAM2Medical3D"
_EFFECTS = ("Paint", "Draw", "Erase", "Level tracing", "Scissors", "Islands", "Smoothing",
            "Margin", "Fill between slices", "Threshold")  # fmt: skip


class HandTools:
    """Paint, erase and the like, with Slicer's own widget.

    It is made when its section is opened for the first time: most users open none.

    Args:
        section: the collapsible section that holds it.
        tool_taken: called when an effect becomes active.
    """

    def __init__(self, section: object, tool_taken: Callable[[], None]) -> None:
        self._section, self._tool_taken = section, tool_taken
        self._widget = self._node = None
        self._nodes: tuple = (None, None, None)
        self._observers = Observers()
        section.connect("contentsCollapsed(bool)", self._on_collapsed)

    def show_segment(self, segmentation: object, volume: object, segment: str | None) -> None:
        """Which nodes and segment the tools act on."""
        self._nodes = (segmentation, volume, segment)
        if self._widget is None:
            return
        if self._node.GetScene() is None:
            self._use_node()
        self._widget.setSegmentationNode(segmentation)
        if segmentation is not None:
            self._widget.setSourceVolumeNode(volume)
        if segment is not None and self._node.GetSelectedSegmentID() != segment:
            self._node.SetSelectedSegmentID(segment)

    def stop(self) -> None:
        """Put the tool down."""
        if self._widget is not None:
            self._widget.setActiveEffectByName("")

    def close(self) -> None:
        """Leave no effect active and nothing observed."""
        self._observers.clear()
        if self._widget is not None:
            self.stop()
            self._widget.setMRMLSegmentEditorNode(None)

    def _on_collapsed(self, collapsed: bool) -> None:
        if collapsed:
            self.stop()
        elif self._widget is None:
            self._make()

    def _make(self) -> None:
        widget = slicer.qMRMLSegmentEditorWidget()
        widget.setMaximumNumberOfUndoStates(10)
        widget.setSegmentationNodeSelectorVisible(False)
        widget.setSourceVolumeNodeSelectorVisible(False)
        widget.setSwitchToSegmentationsButtonVisible(False)
        widget.setEffectNameOrder(_EFFECTS)
        widget.unorderedEffectsVisible = False
        for name in ("SegmentsTableView", "AddSegmentButton", "RemoveSegmentButton",
                     "Show3DButton"):  # fmt: skip
            found = slicer.util.findChildren(widget, name=name)
            for child in found:
                child.setVisible(False)
        widget.setMRMLScene(slicer.mrmlScene)
        self._section.layout().addWidget(widget)
        self._widget = widget
        self._use_node()
        self.show_segment(*self._nodes)

    def _use_node(self) -> None:
        scene = slicer.mrmlScene
        node = scene.GetSingletonNode(_TAG, "vtkMRMLSegmentEditorNode")
        if node is None:
            node = scene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
            node.UnRegister(None)
            node.SetSingletonTag(_TAG)
            # Slicer's own default is to overwrite all, locked and hidden segments too.
            node.SetOverwriteMode(node.OverwriteNone)
            node = scene.AddNode(node)
        self._node = node
        self._widget.setMRMLSegmentEditorNode(node)
        self._observers.clear()
        self._observers.add(node, vtk.vtkCommand.ModifiedEvent, self._on_node)

    def _on_node(self) -> None:
        if self._node.GetActiveEffectName():
            self._tool_taken()
