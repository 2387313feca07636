"""How prompts look in the views."""

from __future__ import annotations

import slicer

from ...colours import Colour

_COLOURS: dict[str, Colour] = {
    "positive": (0.15, 0.85, 0.25),
    "negative": (0.95, 0.20, 0.20),
    "box": (0.95, 0.85, 0.20),
}
_GLYPH_PERCENT = 1.5  # of the view's size


def apply_look(node: slicer.vtkMRMLMarkupsNode, kind: str) -> None:
    """Show a node as a prompt: small, in its colour, without text, and only on its own slice.

    It is not shown in 3D views, where a box of one slice and points within the object only hide
    what has been segmented.

    Args:
        node: points or an ROI, in a scene.
        kind: ``positive``, ``negative`` or ``box``.
    """
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    colour = _COLOURS[kind]
    display.SetColor(colour)
    display.SetSelectedColor(colour)  # points are "selected" from the start
    display.SetActiveColor(tuple((1 + value) / 2 for value in colour))
    display.SetUseGlyphScale(True)
    display.SetGlyphScale(_GLYPH_PERCENT)
    display.SetPointLabelsVisibility(False)
    display.SetPropertiesLabelVisibility(False)
    display.SetSliceProjection(False)
    display.SetVisibility3D(False)
    display.SetSnapMode(display.SnapModeUnconstrained)
    if kind == "box":
        _apply_box_look(display)


def set_locked(node: slicer.vtkMRMLMarkupsNode, locked: bool) -> None:
    """Keep the mouse from changing a prompt, or let it."""
    node.SetLocked(locked)
    display = node.GetDisplayNode()
    if display is not None and node.IsA("vtkMRMLMarkupsROINode"):
        # The handles of a locked ROI can be dragged all the same, as long as there are any.
        display.SetHandlesInteractive(not locked)


def _apply_box_look(display: slicer.vtkMRMLMarkupsROIDisplayNode) -> None:
    # An outline can be picked only where there is a fill, and where it is picked it hides the
    # handles on it: without a fill, a corner can be dragged from its very middle.
    display.SetFillVisibility(False)
    display.SetTranslationHandleVisibility(True)
    display.SetRotationHandleVisibility(False)
    display.SetScaleHandleVisibility(True)
    # X, Y, Z and the corners: across the slices (Z) a box stays one slice thick.
    display.SetScaleHandleComponentVisibility(True, True, False, True)
    display.SetInteractionHandleScale(_GLYPH_PERCENT)
